"""CLIP's files: where they are, the text tower's weights in them, and the tokenizer. No torch."""

import hashlib
import json
import pathlib
import re
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict

from lure_jax.text import clip
from lure_jax.text.clip import ClipConfig, ClipError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
FLAX_WEIGHTS = "flax_model.msgpack"  # what OpenAI's own repositories have instead
VOCABULARIES = (("tokenizer.json",), ("vocab.json", "merges.txt"))
EXAMPLE = "openai/clip-vit-base-patch32"
_TOKENIZER = ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")


class ClipFiles(NamedTuple):
    """A CLIP on the local disk.

    Attributes:
      weights: a .safetensors file, or a .msgpack one of transformers' former Flax models.
      tokenizer: the files that say how a sentence becomes token ids; all in one folder.
      config: of its text tower.
    """

    weights: pathlib.Path
    tokenizer: tuple[pathlib.Path, ...]
    config: ClipConfig


def find(location: str) -> ClipFiles:
    """Finds a CLIP, fetching it from the hub if it must.

    Args:
      location: a folder with config.json, weights and tokenizer; a .safetensors file in such a folder; or a name on
        the Hugging Face hub ("openai/clip-vit-base-patch32"), with "@" and a revision if need be.

    Raises:
      ClipError: a file is missing or unreadable, or the hub cannot be reached.
    """
    path = pathlib.Path(location).expanduser()
    if location and path.is_dir():
        return _in_folder(path, _weights_in(path))
    if location and path.is_file():
        if path.suffix not in (".safetensors", ".msgpack"):
            raise ClipError(f"{path} is not a .safetensors file; give that or its folder as config.model.clip.")
        return _in_folder(path.parent, path)
    if not _HUB_NAME.fullmatch(location):
        raise ClipError(
            f"config.model.clip={location!r} is no folder, no .safetensors file and no name on the Hugging Face hub; "
            f"give a folder with CLIP's files, or a name such as {EXAMPLE}."
        )
    folder = _fetch(location)
    return _in_folder(folder, _weights_in(folder))


def read_params(files: ClipFiles) -> Any:
    """The text tower's parameters, float32 numpy arrays.

    Names may carry the prefix "text_model." or not, and other towers may be in the file.

    Raises:
      ClipError: the file is unreadable, or a tensor is missing or of another shape than config.json says.
    """
    wanted = clip.shapes(files.config)
    tensors = _read_flax(files.weights) if files.weights.suffix == ".msgpack" else _read(files.weights, wanted)
    for name, shape in wanted.items():
        found = tensors[name].shape if name in tensors else "absent"
        if found != shape:
            raise ClipError(
                f"{files.weights} does not fit the {CONFIG} beside it: {name} is {found} there and {shape} by the "
                "config; both must be files of one and the same CLIP."
            )
    return clip.params_of({name: np.asarray(tensors[name], np.float32) for name in wanted}, files.config)


def digest(config: ClipConfig, params: Any) -> str:
    """What a text tower is told apart by: SHA-256 of its config and parameters, 64 hexadecimal digits."""
    total = hashlib.sha256(repr(tuple(config)).encode())
    for path, leaf in sorted(flatten_dict(params, sep="/").items()):
        total.update(f"{path} {leaf.shape}".encode())
        total.update(np.ascontiguousarray(leaf, np.float32).data)
    return total.hexdigest()


def tokenizer_digest(files: ClipFiles) -> str:
    """SHA-256 of the tokenizer's files."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in files.tokenizer)).hexdigest()


def tokenize(files: ClipFiles, sentences: list[str]) -> list[list[int]]:
    """The token ids of each sentence, from the start mark up to and including the first end mark.

    Raises:
      ClipError: the tokenizer cannot be read or has tokens that the tower has not, or a sentence is too long for it.
    """
    from transformers import CLIPTokenizer  # a second of imports, which cached sentences do without

    folder, config = files.tokenizer[0].parent, files.config
    try:
        tokenizer = CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
        rows, end = tokenizer(sentences)["input_ids"], tokenizer.eos_token_id
    except Exception as error:  # the tokenizers library raises bare Exception
        raise ClipError(
            f"{folder} has an unreadable tokenizer ({type(error).__name__}: {str(error).splitlines()[0]}); "
            f"{_fetching(folder)} fetches it anew."
        ) from error
    rows = [row[: row.index(end) + 1] for row in rows]
    if max(map(max, rows)) >= config.vocab_size:
        raise ClipError(
            f"{folder} has a tokenizer with more tokens than the tower's {config.vocab_size}: the files are of "
            f"different models; {_fetching(folder)} fetches CLIP's own."
        )
    for sentence, row in zip(sentences, rows, strict=True):
        if len(row) > config.max_position_embeddings:
            raise ClipError(
                f"The sentence {sentence[:40]!r}... has {len(row)} tokens and CLIP reads "
                f"{config.max_position_embeddings}; say it in fewer words."
            )
    return rows


def _in_folder(folder: pathlib.Path, weights: pathlib.Path) -> ClipFiles:
    try:
        config = ClipConfig.read(json.loads((folder / CONFIG).read_text()))
    except FileNotFoundError:
        raise ClipError(
            f"{folder} is no CLIP folder: {CONFIG} is missing; `hf download {EXAMPLE} {CONFIG} --local-dir {folder}` "
            "fetches the one of ViT-B/32."
        ) from None
    except (ValueError, TypeError) as error:
        raise ClipError(f"{folder / CONFIG} does not describe a CLIP: {error}") from error
    for names in VOCABULARIES:
        if all((folder / name).exists() for name in names):
            return ClipFiles(weights, tuple(folder / name for name in names), config)
    wanted = " nor ".join(" with ".join(names) for names in VOCABULARIES)
    raise ClipError(f"{folder} has no tokenizer, neither {wanted}; {_fetching(folder)} fetches CLIP's.")


def _fetching(folder: pathlib.Path) -> str:
    return f"`hf download {EXAMPLE} vocab.json merges.txt --local-dir {folder}`"


def _weights_in(folder: pathlib.Path) -> pathlib.Path:
    for name in (WEIGHTS, FLAX_WEIGHTS):
        if (folder / name).exists():
            return folder / name
    found = sorted(folder.glob("*.safetensors"))
    if len(found) == 1:
        return found[0]
    if found:
        raise ClipError(
            f"{folder} has {len(found)} .safetensors files and none is {WEIGHTS}; give one of them as "
            f"config.model.clip, such as {found[0]}."
        )
    raise ClipError(
        f"{folder} has no CLIP weights, neither {WEIGHTS} nor {FLAX_WEIGHTS}; where torch is installed, "
        f"`python -c \"from transformers import CLIPTextModel as M; M.from_pretrained('{folder}').save_pretrained("
        f"'{folder}')\"` writes {WEIGHTS} from a pytorch_model.bin."
    )


def _fetch(location: str) -> pathlib.Path:
    """The local copy of a hub repository; asks the network only for what is not there yet."""
    import huggingface_hub

    name, _, revision = location.partition("@")

    def snapshot(*files: str, local: bool) -> pathlib.Path:
        return pathlib.Path(huggingface_hub.snapshot_download(
            name, revision=revision or None, allow_patterns=[CONFIG, *_TOKENIZER, *files], local_files_only=local
        ))  # fmt: skip

    try:
        folder = snapshot(local=True)
        if any((folder / file).exists() for file in (WEIGHTS, FLAX_WEIGHTS)):
            return folder
    except (OSError, ValueError):
        pass
    try:
        folder = snapshot(WEIGHTS, local=False)
        return folder if (folder / WEIGHTS).exists() else snapshot(FLAX_WEIGHTS, local=False)
    except huggingface_hub.errors.RepositoryNotFoundError as error:
        raise ClipError(f"There is neither a folder {location!r} nor a repository of that name on the hub.") from error
    except Exception as error:  # network errors of several libraries
        raise ClipError(
            f"config.model.clip={location!r} is no folder here and could not be fetched from the Hugging Face hub "
            f"({type(error).__name__}); run `hf download {name} --local-dir DIR` where there is a network, copy DIR "
            "here and give it as config.model.clip."
        ) from error


def _read(path: pathlib.Path, wanted: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The wanted tensors of a safetensors file, without their prefix."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names = set(file.keys())
            prefix = "text_model." if any(name.startswith("text_model.") for name in names) else ""
            return {name: file.get_tensor(prefix + name) for name in wanted if prefix + name in names}
    except (SafetensorError, OSError) as error:
        raise ClipError(f"{path} is not a readable safetensors file ({error}); fetch it again.") from error


def _read_flax(path: pathlib.Path) -> dict[str, np.ndarray]:
    """The text tower of a Flax checkpoint under the names and in the layout of the safetensors file."""
    from flax import serialization

    try:
        text = serialization.msgpack_restore(path.read_bytes())["text_model"]
        flat = flatten_dict(text, sep=".")
    except Exception as error:  # msgpack has no common root of its errors
        raise ClipError(f"{path} is not a readable Flax checkpoint of CLIP ({error!r}); fetch it again.") from error
    tensors = {}
    for name, leaf in flat.items():
        module, _, kind = name.rpartition(".")
        leaf = np.asarray(leaf)
        tensors[f"{module}.{'bias' if kind == 'bias' else 'weight'}"] = leaf.T if kind == "kernel" else leaf
    return tensors
