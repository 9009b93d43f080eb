"""The web application: a page for people and a REST API for programs."""

import asyncio
import contextlib
import importlib.metadata
import pathlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Literal

from fastapi import FastAPI, File, Form, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser

from lure_jax.serve import answers, gate, jobs, samples
from lure_jax.serve.engine import Engine
from lure_jax.serve.limits import PROMPT_LENGTH, Refusal

PAGE = pathlib.Path(__file__).parent / "page"
_POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:"
_FAILURES = {
    400: "An empty file or an unreadable form.",
    413: "Too many bytes or pixels.",
    415: "Not an image of a known kind.",
    422: "Images of two sizes, a damaged image, or an argument out of range.",
    503: "Too many requests at a time (Retry-After says when to come back), or one that took too long.",
}
_ERRORS = {status: {"model": answers.Failure, "description": text} for status, text in _FAILURES.items()}
_PICTURE = _ERRORS | {200: {"content": {"image/png": {}}, "description": "A PNG, or JSON as the Accept header says."}}
_ZIP = _ERRORS | {200: {"content": {"application/zip": {}}, "description": "STEM.png of each pair; errors.txt."}}

Image = Annotated[UploadFile, File(description="PNG, JPEG, TIFF, WebP, BMP or PGM/PPM; 8 or 16 bit, grey or RGB.")]
Images = Annotated[list[UploadFile], File(description="Several files; visible and infrared are matched by stem.")]
Prompt = Annotated[str, Form(max_length=PROMPT_LENGTH, description="auto, or a sentence: what is wrong.")]
Strength = Annotated[float, Form(ge=0, le=1, description="How far to restore: 0 not at all, 1 as far as it goes.")]
Modality = Annotated[Literal["visible", "infrared"], Form()]
Flag = Annotated[bool, Form()]


def create_app(engine: Engine) -> FastAPI:
    """The ASGI application.

    Args:
      engine: with the model and the limits; closed when the application ends.
    """
    renderer = ThreadPoolExecutor(1, "sample")

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        engine.close()
        renderer.shutdown(wait=False, cancel_futures=True)

    app = FastAPI(
        title="lure-jax",
        description="Infrared-visible image fusion.",
        version=importlib.metadata.version("lure-jax"),
        lifespan=lifespan,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
    )
    MultiPartParser.spool_max_size = engine.limits.upload_bytes + 1  # uploads stay in memory, which the gate bounds
    app.add_middleware(gate.Gate, limits=engine.limits)
    _add_errors(app)
    _add_pictures(app, engine)
    _add_facts(app, engine)
    _add_page(app, renderer)
    return app


def _add_pictures(app: FastAPI, engine: Engine) -> None:
    @app.post("/api/fuse", response_model=answers.Result, responses=_PICTURE)
    async def fuse(
        request: Request,
        visible: Image,
        infrared: Image,
        prompt: Prompt = "auto",
        strength: Strength = 1.0,
        detect: Annotated[bool, Form(description="Also tell what is wrong with each image.")] = False,
        previews: Annotated[bool, Form(description="JSON alone: also the sources as the network saw them.")] = False,
    ) -> Response:
        """Fuses two registered images of one size."""

        def work() -> Response:
            png, result = jobs.fuse(
                engine, (visible, infrared), prompt, strength, detect=detect, previews=previews and json
            )
            return answers.as_json(png, result) if json else answers.picture(png, result)

        json = answers.wants_json(request)
        return await engine.run(work)

    @app.post("/api/restore", response_model=answers.Result, responses=_PICTURE)
    async def restore(
        request: Request, image: Image, modality: Modality, prompt: Prompt = "auto", strength: Strength = 1.0
    ) -> Response:
        """Removes noise, haze, stripes, ... from one image."""
        png, result = await engine.run(jobs.restore, engine, image, modality, prompt, strength)
        return (answers.as_json if answers.wants_json(request) else answers.picture)(png, result)

    @app.post("/api/batch", response_class=Response, responses=_ZIP)
    async def batch(visible: Images, infrared: Images, prompt: Prompt = "auto", strength: Strength = 1.0) -> Response:
        """Fuses many pairs, matched by the stems of their names, into a zip file."""
        todo = jobs.Batch(visible, infrared, engine.limits)
        for stem, files in todo.pairs.items():
            try:  # one after the other, so that other requests get their turn in between
                png, _ = await engine.run(_fuse_plainly, engine, files, prompt, strength)
                todo.add(stem, png)
            except Refusal as refusal:
                if refusal.status not in (400, 415, 422):
                    raise
                todo.failures.append(str(refusal))
        headers = {
            "Content-Disposition": 'attachment; filename="fused.zip"',
            "X-Lure-Pairs": str(len(todo.pairs)),
            "X-Lure-Failures": str(len(todo.failures)),
        }
        return Response(todo.finish(), media_type="application/zip", headers=headers)


def _fuse_plainly(engine: Engine, files: tuple[UploadFile, UploadFile], prompt: str, strength: float):
    return jobs.fuse(engine, files, prompt, strength, detect=False, previews=False)


def _add_facts(app: FastAPI, engine: Engine) -> None:
    @app.post("/api/detect", responses=_ERRORS)
    async def detect(image: Image, modality: Modality) -> answers.Detection:
        """How probable each condition is."""
        return await engine.run(jobs.detect, engine, image, modality)

    @app.post("/api/metrics", responses=_ERRORS)
    async def metrics(fused: Image, visible: Image, infrared: Image) -> list[answers.Score]:
        """The field's fusion metrics of a fused image, on 8-bit luma; at least 176 x 176 pixels."""
        return await engine.run(jobs.metrics, engine, fused, (visible, infrared))

    @app.get("/api/health")
    async def health() -> answers.Health:
        """Whether the server lives, its model and its limits."""
        limits = engine.limits
        return answers.Health(
            status="ok",
            version=app.version,
            model=engine.name,
            restores=engine.restores,
            upload_bytes=limits.upload_bytes,
            pixels=limits.pixels,
            pairs=limits.pairs,
        )

    @app.get("/api/conditions")
    async def conditions() -> answers.Conditions:
        """What a prompt can name."""
        return answers.vocabulary()


def _add_page(app: FastAPI, renderer: ThreadPoolExecutor) -> None:
    @app.get("/api/samples")
    async def sample_names() -> list[answers.SampleNames]:
        """Synthetic pairs to try."""
        return [answers.SampleNames(name=name, title=sample.title) for name, sample in samples.SAMPLES.items()]

    @app.get("/api/samples/{name}/{modality}.png", response_class=Response)
    async def sample(request: Request, name: str, modality: Literal["visible", "infrared"]) -> Response:
        """One image of a synthetic pair."""
        if name not in samples.SAMPLES:
            raise Refusal(404, f"There is no sample {name!r}; there are {', '.join(samples.SAMPLES)}.")
        png = await asyncio.get_running_loop().run_in_executor(renderer, samples.png, name, modality)
        return Response(png, media_type="image/png", headers={"Cache-Control": "max-age=3600"})

    @app.get("/", include_in_schema=False)
    async def index() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers={"Content-Security-Policy": _POLICY})

    app.mount("/page", StaticFiles(directory=PAGE), name="page")


def _add_errors(app: FastAPI) -> None:
    """Every error is JSON with one sentence."""

    @app.exception_handler(Refusal)
    async def refused(_: Request, refusal: Refusal) -> Response:
        return gate.answer(refusal.status, str(refusal))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        return gate.answer(422, _sentence(error))

    @app.exception_handler(HTTPException)
    async def failed(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404:
            return gate.answer(404, f"There is no {request.url.path} here; see /openapi.json.")
        if error.status_code == 405:
            return gate.answer(405, f"{request.url.path} does not take {request.method}; see /openapi.json.")
        return gate.answer(error.status_code, str(error.detail))

    @app.exception_handler(Exception)
    async def broken(_: Request, __: Exception) -> Response:
        return gate.answer(500, "The server failed on this request; its log says why.")


def _sentence(error: RequestValidationError) -> str:
    """The first complaint about a form, as one sentence."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][1:]) or "body"
    if first["type"] == "missing":
        return f"The field {field} is missing; send it as multipart/form-data."
    given = first.get("input")
    told = f" is {given[:60]!r}" if isinstance(given, str) else ""
    return f"The field {field}{told}: {first['msg'][:1].lower()}{first['msg'][1:]}."
