"""What the API answers: the schemas of its JSON, and pictures or JSON as the client accepts."""

import base64
import json

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from lure_jax.text.conditions import CONDITIONS, MODALITIES
from lure_jax.text.paraphrases import PARAPHRASES

MEANINGS = {
    "EN": "entropy: how many different grey levels are used",
    "SD": "standard deviation: contrast over the whole image",
    "SF": "spatial frequency: how much the image changes from pixel to pixel",
    "AG": "average gradient: how steep its edges are",
    "MI": "mutual information: how much the result tells about both sources",
    "MI2": "mutual information in bits, without normalisation",
    "SCD": "correlation of differences: what each source adds is in the result",
    "VIF": "visual information fidelity: detail of the sources that an eye would find",
    "Qabf": "how well the sources' edges are kept, in strength and direction",
    "SSIM": "structural similarity to both sources, mean of the two",
    "SSIMc": "structural similarity as the field's script computes it",
    "MSSSIM": "structural similarity at several scales",
    "CC": "correlation with the sources",
    "PSNR": "peak signal-to-noise ratio against both sources, in dB",
    "clipped %": "pixels of the result that are pure black or white",
    "sources clipped %": "pixels where a source is pure black or white",
    "CIEDE2000": "colour difference to the visible image; about 1 is just visible",
    "overshoot": "grey levels outside of what both sources have nearby: halos",
}


class Failure(BaseModel):
    """Any answer that is not a success."""

    error: str = Field(description="One sentence: what was wrong, and what would be right.")


class Condition(BaseModel):
    """One entry of the vocabulary."""

    name: str
    label: str
    sentence: str = Field(description="Say this in a prompt to name the condition.")


class Conditions(BaseModel):
    """What can be wrong with an image of each modality."""

    visible: list[Condition]
    infrared: list[Condition]


class Detected(BaseModel):
    """What the condition head says of one condition."""

    condition: str
    probability: float
    present: bool = Field(description="Whether the prompt auto takes it for present.")


class Detection(BaseModel):
    """All conditions of one image, the most probable first."""

    modality: str
    conditions: list[Detected]


class Read(BaseModel):
    """What the prompt was understood as; null where the network decides (auto) or reads the sentence itself."""

    visible: list[str] | None
    infrared: list[str] | None


class Previews(BaseModel):
    """The sources as the network saw them, as base64 JPEG."""

    visible: str
    infrared: str


class Result(BaseModel):
    """A fused or restored image."""

    image: str = Field(description="PNG, base64.")
    width: int
    height: int
    seconds: float = Field(description="Of computing, without waiting.")
    read: Read
    warnings: list[str] = Field(description="Words of the prompt that were not understood, and the like.")
    detected: dict[str, list[Detected]] | None = Field(None, description="Of each image; null if not asked for.")
    previews: Previews | None = Field(None, description="Null if not asked for.")


class Score(BaseModel):
    """One metric of a fused image."""

    name: str
    value: float
    meaning: str
    larger_is_better: bool
    refers_to_sources: bool


class Health(BaseModel):
    """The server and its limits."""

    status: str
    version: str
    model: str
    restores: bool = Field(description="Whether the model restores, detects and reads prompts.")
    upload_bytes: int
    pixels: int
    pairs: int


class SampleNames(BaseModel):
    """A pair of the page's samples: /api/samples/{name}/visible.png and infrared.png."""

    name: str
    title: str


def vocabulary() -> Conditions:
    """The conditions with a sentence that names each."""
    return Conditions(
        **{
            modality: [
                Condition(name=c.name, label=c.name.replace("_", " "), sentence=PARAPHRASES[c][0])
                for c in CONDITIONS
                if c.modality == modality
            ]
            for modality in MODALITIES
        }
    )


def wants_json(request: Request) -> bool:
    """Whether the client accepts JSON and asks for no picture."""
    accept = request.headers.get("accept", "")
    return "application/json" in accept and "image/" not in accept


def picture(png: bytes, result: Result) -> Response:
    """The picture itself; what else there is to say stands in headers, as JSON in ASCII."""
    headers = {
        "X-Lure-Warnings": json.dumps(result.warnings),
        "X-Lure-Read": json.dumps(result.read.model_dump()),
        "X-Lure-Seconds": f"{result.seconds:.3f}",
    }
    if result.detected is not None:
        headers["X-Lure-Detected"] = json.dumps({m: [d.model_dump() for d in f] for m, f in result.detected.items()})
    return Response(png, media_type="image/png", headers=headers)


def as_json(png: bytes, result: Result) -> Response:
    """Everything as JSON."""
    return JSONResponse(result.model_copy(update={"image": text(png)}).model_dump())


def text(data: bytes) -> str:
    """Base64."""
    return base64.b64encode(data).decode()
