"""The `clip` text source: sentences encoded by CLIP's text tower once, kept on disk, and frozen in training."""

import dataclasses
import functools
import hashlib
import io
import os
import pathlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Bool, Float, Int

from lure_jax.text import clip_files
from lure_jax.text.asked import asked_by, asked_by_conditions
from lure_jax.text.clip import ClipConfig, ClipError, ClipTower
from lure_jax.text.prompts import PROMPTS
from lure_jax.text.source import Text

_BATCH = 32  # sentences encoded at a time
_VERSION = 1  # of the encodings kept on disk: another one makes them anew
_LENGTH = 16  # their length is rounded up to multiples of this many tokens: few shapes to compile


@dataclasses.dataclass(frozen=True, eq=False)
class PromptTokens:
    """The tokens of the training prompts; a constant of the model, equal to any other of the same CLIP and sentences.

    Attributes:
      sentences: the N sentences.
      tokens: (N,L,E) float32, L the longest sentence's; zero where `mask` is False.
      mask: (N,L), True up to and including the end mark.
      tower: `clip_files.digest` of the text tower they come from.
    """

    sentences: tuple[str, ...]
    tokens: Float[np.ndarray, "N L E"]
    mask: Bool[np.ndarray, "N L"]
    tower: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PromptTokens) and (self.tower, self.sentences) == (other.tower, other.sentences)

    def __hash__(self) -> int:
        return hash((self.tower, self.sentences))

    def write(self) -> bytes:
        """As the bytes of an .npz file, without padding."""
        file = io.BytesIO()
        np.savez(
            file,
            tokens=self.tokens[self.mask],
            lengths=self.mask.sum(1),
            sentences=np.array(self.sentences),
            tower=np.array(self.tower),
        )
        return file.getvalue()

    @classmethod
    def read(cls, data: bytes) -> "PromptTokens":
        """The training prompts of this version of the package, from what `write` gave.

        Raises:
          ClipError: the bytes are no such file, or a prompt of this version is not in it.
        """
        try:
            with np.load(io.BytesIO(data)) as file:
                rows = np.split(file["tokens"], np.cumsum(file["lengths"])[:-1])
                found = dict(zip(file["sentences"].tolist(), rows, strict=True))
                tower = str(file["tower"])
        except (ValueError, KeyError, OSError) as error:
            raise ClipError(f"the encoded prompts are unreadable ({error})") from error
        for sentence in PROMPTS:
            if sentence not in found:
                raise ClipError(f"{sentence!r}, a prompt of this version of lure-jax, is not among the encoded prompts")
        return cls(PROMPTS, *pad([found[sentence] for sentence in PROMPTS]), tower)


class ClipText(nn.Module):
    """Looks up CLIP's tokens of each prompt: LURE's text (arXiv 2503.07033), which the paper takes from CLIP.

    The tokens are a constant, not parameters: they have no gradient, no weight decay and no place in checkpoints. Only
    where CLIP's width is not the model's, a linear map without bias is trained.

    Attributes:
      width: Length E of the model's tokens.
      prompts: What is looked up.
    """

    width: int
    prompts: PromptTokens

    def setup(self):
        if self.prompts.tokens.shape[-1] != self.width:
            init = nn.with_logical_partitioning(nn.initializers.lecun_normal(), ("in", "text"))
            self.projection = nn.Dense(self.width, use_bias=False, kernel_init=init)

    def __call__(self, prompt_ids: Int[Array, "B P"]) -> Text:
        """Prompts to tokens.

        Args:
          prompt_ids: Indices into `PROMPTS`, -1 where there is no prompt.

        Returns:
          Text of P times the longest prompt's tokens, zero and masked out after each prompt's end.
        """
        present = prompt_ids >= 0
        chosen = jnp.maximum(prompt_ids, 0)
        mask = jnp.asarray(self.prompts.mask)[chosen] & present[..., None]
        tokens = jnp.where(mask[..., None], jnp.asarray(self.prompts.tokens)[chosen], 0.0)
        batch = prompt_ids.shape[0]  # which may be symbolic
        tokens, mask = tokens.reshape(batch, -1, tokens.shape[-1]), mask.reshape(batch, -1)
        return self.read(Text(tokens, mask, asked_by(prompt_ids)))

    def read(self, encoded: Text) -> Text:
        """CLIP's own tokens, of any sentence, at the model's width."""
        if self.prompts.tokens.shape[-1] == self.width:
            return encoded
        return encoded._replace(tokens=self.projection(encoded.tokens))


class ClipEncoder:
    """Any sentence to CLIP's tokens; every sentence is computed once and then read from the disk.

    Args:
      location: as `clip_files.find` takes it.
      tower: the digest that the text tower must have; any if it is left out.

    Attributes:
      tower: the digest it has.

    Raises:
      ClipError: there is no CLIP, its files are unfit, or its tower is another.
    """

    def __init__(self, location: str, tower: str = ""):
        self._files = clip_files.find(location)
        self._params = clip_files.read_params(self._files)
        self.tower = clip_files.digest(self._files.config, self._params)
        if tower and tower != self.tower:
            raise ClipError(
                f"{self._files.weights} is another CLIP ({self.tower[:12]}) than the one the model was trained with "
                f"({tower[:12]}); give that one's files as model.clip in the model's config.json."
            )
        self._folder = cache_folder() / self.tower[:16]
        self._tokenizer = clip_files.tokenizer_digest(self._files)

    def encode(self, sentences: Sequence[str]) -> list[Float[np.ndarray, "L E"]]:
        """The tokens of each sentence up to and including the end mark, after the tower's final norm.

        Raises:
          ClipError: a sentence is too long, or the tokenizer or the cache's folder is unusable.
        """
        paths = {sentence: self._folder / f"{self._key(sentence)}.npy" for sentence in sentences}
        found = {sentence: _load(path) for sentence, path in paths.items()}
        missing = [sentence for sentence, tokens in found.items() if tokens is None]
        if missing:
            rows = clip_files.tokenize(self._files, missing)
            found |= dict(zip(missing, run_tower(self._files.config, self._params, rows), strict=True))
        for sentence in missing:
            _store(paths[sentence], found[sentence])
        return [found[sentence] for sentence in sentences]

    def text(self, sentence: str, conditions: Sequence[int]) -> Text:
        """A sentence as `Text` without a batch axis, padded to the most tokens CLIP reads: one shape for all.

        Args:
          sentence: any.
          conditions: that its words name of the image at hand; they ask for parts of the network.
        """
        tokens, mask = pad(self.encode([sentence]), self._files.config.max_position_embeddings)
        return Text(tokens[0], mask[0], asked_by_conditions(conditions))

    def _key(self, sentence: str) -> str:
        return hashlib.sha256(f"{_VERSION} {self._tokenizer} {sentence}".encode()).hexdigest()


def encode_prompts(location: str) -> PromptTokens:
    """The tokens of all training prompts.

    Args:
      location: `config.model.clip`, as `clip_files.find` takes it.

    Raises:
      ClipError: there is no CLIP, or its files are unfit.
    """
    encoder = ClipEncoder(location)
    return PromptTokens(PROMPTS, *pad(encoder.encode(PROMPTS)), encoder.tower)


def run_tower(config: ClipConfig, params, rows: Sequence[Sequence[int]]) -> list[Float[np.ndarray, "L E"]]:
    """Token ids of sentences of any lengths through the tower, in batches of few shapes."""
    encoded = []
    for first in range(0, len(rows), _BATCH):
        batch = rows[first : first + _BATCH]
        length = -(-max(map(len, batch)) // _LENGTH) * _LENGTH
        size = 1 if len(rows) == 1 else _BATCH
        ids = np.zeros((size, min(length, config.max_position_embeddings)), np.int32)
        for row, sentence in zip(ids, batch, strict=False):
            row[: len(sentence)] = sentence
        tokens = np.asarray(_run(config, params, ids))
        encoded += [row[: len(sentence)] for row, sentence in zip(tokens, batch, strict=False)]
    return encoded


def pad(rows: Sequence[Float[np.ndarray, "L E"]], length: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Sentences of several lengths as tokens (N,L,E), zeros behind each, and mask (N,L); L at least `length`."""
    mask = np.arange(max(length, *map(len, rows)))[None] < np.array([len(row) for row in rows])[:, None]
    tokens = np.zeros((*mask.shape, rows[0].shape[-1]), np.float32)
    tokens[mask] = np.concatenate(rows)
    return tokens, mask


def cache_folder() -> pathlib.Path:
    """Where encoded sentences are kept: $XDG_CACHE_HOME/lure_jax/clip, ~/.cache if that is not set."""
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "lure_jax" / "clip"


@functools.partial(jax.jit, static_argnums=0)
def _run(config: ClipConfig, params, ids: Int[Array, "B L"]) -> Float[Array, "B L E"]:
    with jax.default_matmul_precision("highest"):  # float32 also where the default is less
        return ClipTower(config).apply({"params": params}, ids)


def _load(path: pathlib.Path) -> np.ndarray | None:
    try:
        return np.load(path)
    except (OSError, ValueError, EOFError):  # not there, or broken: it is computed anew
        return None


def _store(path: pathlib.Path, tokens: np.ndarray) -> None:
    draft = path.with_name(f".{path.stem}.{os.getpid()}.npy")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(draft, tokens)
        draft.replace(path)
    except OSError as error:
        raise ClipError(
            f"{path.parent} cannot hold the encoded sentences ({error.strerror}); set XDG_CACHE_HOME to a folder "
            "that can."
        ) from error
