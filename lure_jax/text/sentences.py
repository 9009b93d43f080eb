"""Free sentences to conditions, by their words."""

import re
from typing import NamedTuple

from lure_jax.text import lexicon
from lure_jax.text.conditions import CONDITIONS, MODALITIES, clean_id, condition_id
from lure_jax.text.paraphrases import PARAPHRASES


class Resolved(NamedTuple):
    """What a sentence says about an image pair.

    Attributes:
      visible: Condition ids of the visible image, ascending; (clean,) if nothing is wrong with it.
      infrared: The same of the infrared image.
      unknown: Content words that were not understood, in their order.
    """

    visible: tuple[int, ...]
    infrared: tuple[int, ...]
    unknown: tuple[str, ...]


class _Token(NamedTuple):
    kind: str  # "term", "marker", "strong", "weak", "turn", "seeing" or "negation"
    value: object  # the Term or the modality
    start: int
    end: int


class _Clause(NamedTuple):
    """A stretch between two boundaries; `joined` is the boundary before it."""

    joined: str
    start: int
    end: int
    tokens: tuple[_Token, ...]

    def of(self, kind: str) -> list[_Token]:
        return [token for token in self.tokens if token.kind == kind]


_KINDS = (
    ("seeing", None, lexicon.SEEING),
    *(("term", term, term.pattern) for term in lexicon.TERMS),
    *(("marker", name, pattern) for name, pattern in lexicon.MARKERS.items()),
    ("negation", None, lexicon.NEGATION),
    ("strong", None, lexicon.STRONG),
    ("turn", None, lexicon.TURN),
    ("weak", None, lexicon.WEAK),
)
_STOPS = (("strong", None, r"[.:;!?]+"), ("weak", None, ","))
_SCANNER = re.compile(
    "|".join(
        [rf"(?P<k{i}>(?<!\w)(?:{pattern})(?!\w))" for i, (_, _, pattern) in enumerate(_KINDS)]
        + [rf"(?P<k{i}>{pattern})" for i, (_, _, pattern) in enumerate(_STOPS, len(_KINDS))]
    )
)
_CANCELLED = re.compile(lexicon.CANCELLED)
_REPEATED = re.compile(lexicon.REPEATED)
_WORD = re.compile(r"[^\W\d_]{3,}")
_UNDERSTOOD = lexicon.PLAIN.union(
    *(_WORD.findall(sentence.lower()) for sentences in PARAPHRASES.values() for sentence in sentences)
)


def resolve(sentence: str) -> Resolved:
    """The conditions of both modalities that a sentence names; the words decide, not a language model.

    A condition belongs to the modality named in its clause, else to the one named last, else to the visible
    image; in "noisy and blurry thermal image" the name stands last. Conditions that one modality alone has
    (rain, stripes) need no name; a picture fault given to the modality that has no such condition ("the photo
    has stripes") is returned as unknown. "no noise", "noise-free" and the like count as absent.

    Args:
      sentence: English, any case; an empty one or "clean" means that nothing is wrong.

    Returns:
      The conditions, clean for a modality nothing was said of, and the words not understood. There may be
      more conditions than prompt slots in training.
    """
    text = _normalise(sentence)
    tokens = [
        _Token(*(_KINDS + _STOPS)[int(match.lastgroup[1:])][:2], match.start(), match.end())
        for match in _SCANNER.finditer(text)
    ]
    clauses = _split(text, tokens)
    negated = _negated(text, tokens)
    found, misplaced = set(), set()
    last, said = None, []
    for clause, own in zip(clauses, _markers(clauses), strict=True):
        if own == "other":
            own = MODALITIES[last == "visible"] if last in MODALITIES else None
        last = own or last
        terms = clause.of("term")
        if terms:
            said = [t.value for t in terms]
        elif own and not clause.of("negation") and _REPEATED.search(text[clause.start : clause.end].strip()):
            found.update(c for term in said for c in _place(term, own, own))
        for token in terms:
            if token in negated:
                continue
            near = _nearest(token, clause.of("marker")) or own
            conditions = _place(token.value, near if near != "other" else own, last)
            found.update(conditions)
            if not conditions:
                misplaced.add(token)
    visible, infrared = (
        tuple(sorted(c for c in found if CONDITIONS[c].modality == modality)) or (clean_id(modality),)
        for modality in MODALITIES
    )
    return Resolved(visible, infrared, _unknown(text, tokens, misplaced))


def warning(resolved: Resolved) -> str | None:
    """What to tell the user about words that were not understood.

    Args:
      resolved: The result of `resolve`.

    Returns:
      One sentence with the words and the conditions that exist, or None if all words were understood.
    """
    if not resolved.unknown:
        return None
    known = "; ".join(
        f"{modality}: {', '.join(c.name.replace('_', ' ') for c in CONDITIONS if c.modality == modality)}"
        for modality in MODALITIES
    )
    words = ", ".join(resolved.unknown)
    return f"The prompt's words not understood: {words}; the known conditions are {known}."


def _normalise(sentence: str) -> str:
    text = re.sub(r"\s+", " ", sentence.lower().replace("\u2019", "'").replace("_", " ")).strip()
    text = text.replace("can't", "can not").replace("cannot", "can not").replace("won't", "will not")
    text = re.sub(r"n't\b", " not", text)
    return re.sub(r"'(?:s|re|ve|ll|m|d)\b", " is", text)


def _split(text: str, tokens: list[_Token]) -> list[_Clause]:
    clauses, joined, start, inside = [], "strong", 0, []
    for token in [*tokens, _Token("strong", None, len(text), len(text))]:
        if token.kind not in ("strong", "weak"):
            inside.append(token)
            continue
        clauses.append(_Clause(joined, start, token.start, tuple(inside)))
        joined, start, inside = (
            "strong" if token.kind == "strong" else text[token.start : token.end],
            token.end,
            [],
        )
    return clauses


def _negated(text: str, tokens: list[_Token]) -> set[_Token]:
    negated, active = set(), False
    for token, following in zip(tokens, [*tokens[1:], None], strict=False):
        directly = following is not None and following.kind == "term" and following.start == token.end + 1
        if token.kind == "negation":
            active = True
        elif token.kind in ("strong", "turn"):
            active = False
        elif token.kind == "weak":
            active = active and _list_goes_on(text, token, directly)
        elif token.kind == "term" and active != bool(_CANCELLED.match(text, token.end)):
            negated.add(token)
    return negated


def _list_goes_on(text: str, token: _Token, directly: bool) -> bool:
    """Whether a negation reaches over this comma or "and": "no noise and blur", "no noise, blur or rain"."""
    if text[token.start] != ",":
        return directly
    rest = re.split(r"[.;!?]|\bbut\b", text[token.end :])[0]
    return directly and re.search(r"\bn?or\b", rest) is not None


def _markers(clauses: list[_Clause]) -> list[str | None]:
    """The modality of each clause, None where it is to be taken from the clause before."""
    own = [clause.of("marker")[-1].value if clause.of("marker") else None for clause in clauses]
    for i in range(len(clauses) - 1, 0, -1):
        if own[i] in (None, "other") or own[i - 1] or clauses[i].joined in ("strong", "with"):
            continue
        term_first = clauses[i].tokens and clauses[i].tokens[0].kind == "term"
        if term_first and clauses[i - 1].tokens and (clauses[i].joined != "," or not any(own[:i])):
            own[i - 1] = own[i]
    return own


def _nearest(token: _Token, markers: list[_Token]) -> str | None:
    gap = {max(m.start - token.end, token.start - m.end): m.value for m in reversed(markers)}
    return gap[min(gap)] if gap else None


def _place(term: lexicon.Term, own: str | None, last: str | None) -> list[int]:
    """The conditions a term means where `own` is spoken of in its clause and `last` at large."""
    names = {"visible": term.visible, "infrared": term.infrared}
    spoken = own or last or term.default
    modalities = MODALITIES if spoken == "both" else (spoken,)
    here = [condition_id(m, names[m]) for m in modalities if names[m]]
    if here or term.rule == "context" or (term.rule == "picture" and own):
        return here
    return [condition_id(m, name) for m, name in names.items() if name]


def _unknown(text: str, tokens: list[_Token], misplaced: set[_Token]) -> tuple[str, ...]:
    words = [(token.start, text[token.start : token.end]) for token in misplaced]
    words += [
        (match.start(), match.group())
        for match in _WORD.finditer(text)
        if match.group() not in _UNDERSTOOD and not any(t.start <= match.start() < t.end for t in tokens)
    ]
    return tuple(dict.fromkeys(word for _, word in sorted(words)))
