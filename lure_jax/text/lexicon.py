"""The words of free sentences: what names a condition, a modality, a negation or a boundary."""

from typing import NamedTuple


class Term(NamedTuple):
    """Words that name a condition.

    Attributes:
      pattern: Regular expression for whole words of a lower-case sentence.
      visible: The condition meant in a visible image, None where there is no such condition.
      infrared: The same in an infrared image.
      default: The modality meant when the sentence names none.
      rule: "scene", true of the scene whichever camera is spoken of, such as rain; "picture", true of the
        image spoken of; "context", only a condition where the modality spoken of has it, such as "flat".
    """

    pattern: str
    visible: str | None = None
    infrared: str | None = None
    default: str = "visible"
    rule: str = "picture"


_VERY = r"(?:(?:so|too|very|really|quite|rather|a bit|properly|well|entirely|all that) )?"
_LITTLE = (
    r"(?:low|lower|poor|weak|bad|little|too little|hardly any|barely any|not much|not enough|no|lack of|lacks"
    r"|lacking|insufficient|missing|reduced|limited|faint)"
)

# Where two terms match at one place the earlier row wins, so that "column noise" is stripes.
TERMS = (
    Term(r"snow[- ]like (?:sensor )?noise", "noise", "noise"),
    Term(
        r"(?:de)?strip(?:e|es|ed|ing|y)|bands?|banding|banded|fixed[- ]pattern(?: noise)?|fpn"
        r"|(?:row|column|line)s?(?:[- ]and[- ](?:row|column|line)s?)?[- ]"
        r"(?:wise )?(?:noise|patterns?|offsets?|art[ei]facts?)|columns(?: \w+){0,6} offsets"
        r"|(?:vertical|horizontal) (?:lines|bars)"
        r"|non-?uniform(?:ity)?(?! correction)",
        infrared="stripe",
        default="infrared",
    ),
    Term(
        rf"{_LITTLE}(?:[- ](?:in|thermal|infrared|image|local|overall|global|of|the))*[- ]contrast"
        r"|contrast(?: (?:of|in|the|its|thermal|infrared|ir|lwir|image|channel|frame|picture|camera)){0,5}"
        rf" (?:is|was|looks|seems) {_VERY}(?:low|weak|poor|bad|lacking|missing|insufficient|faint)"
        r"|(?:stretch|boost|enhance|increase|improve|raise)(?:ing)? (?:of )?(?:the |its |their )?contrast"
        r"|contrast (?:stretch\w*|enhancement)|contrastless|thermal crossover"
        r"|(?:narrow|small|compressed|limited) dynamic range|histogram is (?:narrow|compressed)"
        r"|(?:hardly|barely|scarcely) (?:differs?|stands? out)|melts? into the background",
        infrared="low_contrast",
        default="infrared",
    ),
    Term(
        r"(?:dead|hot|stuck|bad|defective) pixels?|pixels are (?:dead|stuck|defective)",
        "noise",
        "noise",
        default="infrared",
    ),
    Term(
        r"(?:(?:chroma|colou?r|luminance|gaussian|poisson|shot|thermal sensor|sensor) )?(?:de)?"
        r"nois(?:es?|y|ier|iness|ing)|salt[- ]and[- ]pepper(?: noise)?|grain|grains|grainy|graininess"
        r"|speckle[ds]?|speckling|(?:high )?iso(?: \d+)?",
        "noise",
        "noise",
    ),
    Term(
        r"(?:motion[- ]|de)?blur(?:s|red|ry|ring|riness)?|out[- ]of[- ]focus|de-?focus(?:ed|s)?|unfocused"
        rf"|unsharp\w*|not {_VERY}(?:sharp|crisp|focus+ed|in focus)"
        r"|(?:lacks?|lack of|lacking|missing|no|without) (?:any )?"
        r"(?:sharpness|sharp (?:edges|outlines)|focus)|smear(?:s|ed|ing|y)?|shak(?:y|e|es|en|ing)|shook|fuzzy"
        r"|vibrat(?:es|ed|ing|ion)|soft(?! light)|mis-?focus+ed|(?:auto)?focus (?:is|was|seems) (?:off|wrong)"
        r"|autofocus (?:has )?failed|miss(?:ed|es) (?:the )?focus|wrong focus|forgot to focus"
        r"|(?:never|badly|poorly) focus+ed|moved|smudg(?:y|ed)",
        "blur",
        "blur",
    ),
    Term(
        r"over-? ?expos(?:e|es|ed|ures?)|overlit|blown(?:[- ]out)?|burn(?:t|ed|s|ing)?[- ]out"
        r"|clipp(?:ed|ing)|saturat(?:e|ed|es|ion)|glar(?:e|ing)|dazzl(?:e|es|ed|ing)|bleach(?:ed|es)?"
        r"|(?:too|overly|excessively|extremely) (?:much )?bright|excessive (?:brightness|light)"
        r"|too much (?:sun)?light|exposed (?:for )?too long|exposure was too long|stops? over(?:exposed)?"
        r"|harsh (?:sun)?light",
        visible="over_exposure",
    ),
    Term(r"washed[- ]out (?:distance|background|horizon)", visible="haze", rule="scene"),
    Term(r"washed[- ]out", "over_exposure", "low_contrast", rule="context"),
    Term(
        r"(?:de)?haz(?:e|y|iness|ing)|fog(?:s|gy|ged)?|defog|mist(?:s|y)?|smog(?:gy)?|smok(?:e|y)"
        r"|murky?|veil(?:ed)?|(?:poor|bad|low|reduced) visibility",
        visible="haze",
        rule="scene",
    ),
    Term(
        r"(?:de)?rain(?:s|y|ed|ing|drops?|storm|fall)?(?: streaks?)?|downpours?|drizzl(?:e|ing|y)"
        r"|pour(?:s|ing)|showers?",
        visible="rain",
        rule="scene",
    ),
    Term(
        r"(?:de)?snow(?: storm|s|y|ing|ed|flakes?|fall|storm)?(?! on the (?:ground|roofs?|road))"
        r"|(?:snow )?flakes|blizzard|flurr(?:y|ies)|sleet",
        visible="snow",
        rule="scene",
    ),
    Term(
        r"(?:low|dim|poor|weak|faint|bad|little|too little|hardly any|barely any|not enough|not much|no"
        r"|lacks?|lack of|lacking|insufficient|without) (?:available |ambient |street )?"
        r"(?:light|lighting|illumination|lamps)|low-light(?:ing)?|lit by a single lamp"
        r"|(?:poorly|badly|dimly|weakly|barely) (?:lit|illuminated)|night(?:s|fall|-?time)?|nocturnal"
        r"|dusk|twilight|after sunset|in the dark|darkness|pitch[- ](?:black|dark)",
        visible="low_light",
        rule="scene",
    ),
    Term(
        r"dark(?:er|ish)?|dim(?:med|mer)?|gloomy|under-? ?expos(?:es?|ed|ures?)|underlit"
        r"|stops? under(?:exposed)?|(?:more|longer) exposure|brighten(?:ing|ed)?"
        r"|(?:nearly|almost|completely|too) black|black (?:images?|photos?|pictures?|frames?)",
        visible="low_light",
    ),
    Term(r"streaks?", "rain", "stripe", rule="context"),
    Term(r"flat(?! areas)|dull|pale|faded|faint|grey levels", infrared="low_contrast", rule="context"),
)

_NOUN = r"(?:camera|imager|sensor|channel|image|picture|frame|photo|view|video|side|band|one|lens|spectrum)s?"
_VISIBLE = (
    rf"(?<!is )(?<!are )(?<!no )(?<!any )(?<!clearly )(?<!hardly )(?<!barely )(?:visible|visual|vis|rgb"
    rf"|colou?rs?)(?: {_NOUN})*"
    r"|photos?|photograph(?:s|y)?|(?:day(?:light|time) )?camera (?:image|picture)s?|dashcam"
)
_INFRARED = (
    rf"(?:thermal|infra-?red|ir|[lms]wir|nir|flir)(?: {_NOUN})*|heat (?:maps?|{_NOUN})|thermogra(?:m|ph)\w*"
    r"|(?:micro)?bolometers?|focal plane array|detector|netd|germanium"
)
_AND = r" (?:and|&|as well as|plus|or|nor) (?:the |an? )?"
_ALONE = r"(?! (?:is|was|has|shows|looks|suffers|with|noise|blur|contrast))"

# The modalities spoken of; "other" is the one not spoken of last.
MARKERS = {
    "both": (
        rf"(?:both )?(?:the |an? )?(?:(?:{_VISIBLE}){_AND}(?:{_INFRARED})"
        rf"|(?:{_INFRARED}){_AND}(?:{_VISIBLE})){_ALONE}"
        rf"|(?:both|all|the two|two|each|every)(?: of)?(?: the)?(?: two)? (?:{_NOUN}|modalit(?:y|ies)|them)"
        r"|both(?= (?:are|have|show|look|suffer|were))|(?<=in )both|(?<=are )both"
    ),
    "infrared": _INFRARED,
    "visible": _VISIBLE,
    "other": rf"the other(?: {_NOUN})?",
}

# Boundaries of clauses; a negation does not reach beyond the strong ones and the turns.
STRONG = r"but|yet|while|whereas|though|although|however|besides|because|due to"
TURN = r"only|just|still|rather|except(?: for)?|apart from"
WEAK = r"and|&|plus|with|also"
SEEING = r"(?:can|could|do|does) not (?:\w+ )?(?:see|recogni[sz]e|make out|tell|read|find)|not only"
NEGATION = (
    r"not|no|(?:hardly|barely|scarcely|almost no)(?: any)?|without|never|neither|nor|none|nothing"
    r"|free (?:of|from)|lacks?|lack of|instead of"
)
# After the condition: "noise-free", "the noise is gone".
CANCELLED = (
    r"[- ]free|(?: \w+)? (?:is|are|was|were) (?:gone|over|absent|removed|negligible|not (?:an? )?"
    r"(?:problem|issue|visible|present|there|seen))"
    r"|(?: has| had)? (?:stopped|ceased|cleared|lifted|ended)"
)
# "the infrared too": the clause repeats what was said before.
REPEATED = r"\b(?:so (?:is|does|has|are)|same)\b|\b(?:is|are|does|has|too|as well|likewise)$"

# Content words that say nothing about a condition; those of the paraphrases are understood besides.
PLAIN = frozenset(
    """
    about above across after afternoon again air all almost also always annoying any anything apart area
    areas artefact artefacts artifacts because been before being big bit boat bottom bridge building
    buildings camera cameras can cannot car cars cat cats city clearly close completely condition
    conditions corner could dashcam day daylight daytime defects degradation degradations degraded
    dense did directly distance does dog dogs done down drive driver driving drone drove during each
    edge edges else enough entire even evening every everything expect exposed exposure exposures
    extreme extremely far few fine fire five fix flash footage for forest forgot free from front
    full fully fused fusion get good great ground had has have heavily heavy help her here highway
    house how image imager images img into its kind lake lamp landscape left less level light little
    longer look looks lost lot lots low made man many mild minor moment more morning most mostly
    mountain mountains much near nearly need needs never new nice noiseless noon not now object
    objects off okay old one other our outdoor outside over own pair park part partly people perfect
    person pic picture pictures places please plenty posts problem problems produces properly
    quality quite rather ratio really remove removed rest rid right road room same scene see seems
    sensor several severe severely sharp shines shot shots show showing shown shows side signal
    since sky slight slightly small some spectrum storm stormy stream strong strongly such suffer
    suffers sun sunny take taken target targets than that the their them then there these they thick
    thin thing this those three through time tiny top totally tower town tree trees truck truly two
    ugly under use used usual very via video view walk walks want was way weak weather were what
    when where which whole will window with woman would wrong you your
    """.split()
)
