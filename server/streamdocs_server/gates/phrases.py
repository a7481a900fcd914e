"""What models say to whoever asked them, as patterns: one alternative a line.

Each pattern is anchored, or bounded after its first character, so that the time is linear in a text.
"""

import re


def _any(*alternatives: str) -> str:
    return f"(?:{'|'.join(alternatives)})"


def _pattern(*alternatives: str, flags: int = 0) -> re.Pattern[str]:
    return re.compile(_any(*alternatives), re.IGNORECASE | flags)


#: Markup before the first word.
_LEAD = r"[\s#*_>\"“-]{0,8}"
_NOT = r"(?:n['’]t| not)"
_TEXT = r"(?:article|version|rewrit\w*|rephras\w*|text|document|passage|summary|rewording|paraphrase|revision|response)"

# --- before a text

_SURE = (
    r"(?:(?:sure(?: thing)?|certainly|of course|absolutely|okay|ok|great|gladly|no problem|understood|got it|yes"
    r"|alright|happy to help|I['’]d be (?:happy|glad) to(?: help)?|好的|当然(?:可以)?|bien sûr|por supuesto|natürlich"
    r"|gerne?|claro)(?:[!,.:;，。！ —-]+|\n+))"
)
_ADJECTIVE = _any(
    *(r"re-?written", r"re-?phrased", r"re-?worded", "revised", "edited", "improved", "paraphrased", "final", "new"),
    r"encyclop(?:a)?edi[ac](?:-style| style)?",
    *("polished", "simplified", "full", "complete", "requested", "following", "above", "same", "concise", "detailed"),
    *("proposed", "possible", "rewriting of the"),
)
_NOUN = _any(
    *("texts?", "articles?", "documents?", "versions?", "passages?", "answers?", "outputs?", "responses?"),
    *(r"re-?writes?", r"re-?writings?", r"re-?phrasings?", r"re-?phrases?", "paraphrases?", "summary", "content"),
    *("entry", "drafts?", "results?", "thoughts?", "rationale", "reply", "completion", "explanation", "paragraphs?"),
    *("assistant", "ai(?: assistant)?", "a"),
)
ASSENT = _pattern(rf"{_SURE}\s*")
INTRODUCTION = re.compile(
    rf"{_LEAD}{_SURE}{{0,3}}{_LEAD}(?:(?:based on|given|from|using) [^,\n]{{3,60}}, ?)?"
    + _any(
        r"here(?:['’]s| is| are| you go)",
        "below (?:is|are)",
        "the following (?:is|are)",
        "this is",
        r"I(?: have|['’]ve)(?: now)? (?:rewritten|rephrased|written|prepared|created)",
        "as requested",
        *("voici", "hier ist", "aquí (?:está|tienes?)", "ecco", "aqui está", "以下是", "下面是", "这是", "以下は"),
        *("вот", "다음은"),
    ),
    re.IGNORECASE,
)
#: Of an introduction, what tells it from the first sentence of a text.
TASK = _pattern(
    *("rewrit", r"re-?phras", "paraphras", r"re-?word", "encyclop", r"article\b", r"versi[oó]n\b", r"thoughts?\b"),
    *(r"rationale\b", r"text[eo]?\b", r"document\b", r"answer\b", r"passage\b", r"summary\b", r"artikel\b"),
    *("art[ií]c", "改写", "重写", "文章", "版本", "書き", "記事", "стат", "текст", "기사"),
)
#: An introduction that is a line of its own, without a colon, and yet no sentence of a text.
CHAT = re.compile(
    rf"{_LEAD}(?:{_SURE}|here(?:['’]s| is) (?:the|your|a|an) (?:{_ADJECTIVE} )+|I(?: have|['’]ve))", re.IGNORECASE
)
LABEL = _pattern(
    rf"{_LEAD}(?:(?:the|your|my|an?|one) )?(?:{_ADJECTIVE}[ -]){{0,4}}{_NOUN}"
    r"(?: (?:text|article|version|document|below|follows))?(?: #?\d{1,2})?(?:\s?\([^)\n]{0,60}\))?"
    r"[*_\"”]{0,3}\s?[:：][*_\"”]{0,3}\s*",
    rf"{_LEAD}(?:(?:the|your|my|an?) )?(?:{_ADJECTIVE}[ -]){{1,4}}{_NOUN}[*_#\s\"”]{{0,6}}(?:\n\s*|$)",
    r"[#*_]{1,6}\s?(?:article|text|document|passage|rewrite|output|response|answer)[*_#]{0,4}\s*(?:\n\s*|$)",
    rf"{_LEAD}(?:please )?(?:re-?write|re-?phrase|paraphrase|re-?word) (?:this|the)\b[^\n:]{{0,120}}"
    r"[:.][*\s]{0,4}\n\s*",
    r"(?:改写后的?(?:文章|文本)?|文章|回答|答案)[:：]\s*",
)
RULE = re.compile(r"\A\s*(?:-{3,}|\*{3,}|_{3,}|={3,})\s*\n\s*")
FENCE = _pattern(r"```(?:markdown|md|text|txt|plaintext)?[ \t]*\n(?P<inside>.*)\n```", flags=re.DOTALL)

# --- behind a text

_MERIT = _any(
    *("original", "facts?", "encyclop", "rewrit", "rephras", "clarity", "clear", "tone", "meaning", "style"),
    *("information", "readab", "instruct", "request", "prompt", "substance"),
)
#: Where such a line follows in the last half of a text, the text has ended. In lower case.
POSTSCRIPT = re.compile(
    r"\n[\s#*_>(\[-]{0,6}"
    + _any(
        r"(?:i )?(?:really )?hope (?:this|that|you)\b",
        r"let me know\b",
        r"please (?:let me know|feel free|note that (?:i|this re|the re))",
        r"feel free to\b",
        r"would you like (?:me|any)\b",
        r"do you (?:want|need) (?:me|any)\b",
        "is there anything else",
        r"if you(?:['’]d| would)? (?:like|need|want|have)\b[^\n]{0,80}\b"
        r"(?:let me know|feel free|i can|i['’]ll|just (?:ask|say)|please)",
        r"(?:please )?note:?\s?\**:?\s?(?:that )?"
        rf"(?:i(?:['’]ve| have| kept| made| did| tried|['’]m| am| used)\b|this (?:re|{_TEXT})"
        r"|the (?:above|original|rewritten|rephrased|re)|all )",
        rf"(?:this|the|my|the above) (?:above |re-?written |re-?phrased |revised |new |final )*{_TEXT} "
        r"(?:has been|was|is|now|aims?|strives?|attempts?|tries|maintains?|preserves?|retains?|captures?|keeps?"
        r"|includes? all|conveys?|covers all|ensures?|follows the|presents the same|stays)\b"
        rf"[^\n]{{0,120}}\b{_MERIT}",
        r"i(?:['’]ve| have)?(?: tried to| made sure to| aimed to| also)? (?:re-?written|re-?phrased|kept|keep|made"
        r"|changed|maintained?|preserved?|omitted|removed|retained?|included?|ensured?|rearranged|avoided|added|used"
        r"|tried)\b[^\n]{0,120}\b(?:original|facts?|text|document|article|details?|information|tone|clarity|meaning"
        r"|wording|instruct|request|prompt|names?)",
        r"(?:key |main |summary of |list of |explanation of )?changes(?: made)?\s?\**:",
        r"\(?word count\b",
        r"total words\b",
        r"\(?\d+ words\)?$",
        rf"(?:the )?end of (?:the )?(?:re-?written |re-?phrased |encyclopedia )?{_TEXT}\b",
        r"\W?end\W?$",
        rf"this is (?:a|the|an|my) (?:\w+ )?{_TEXT} of (?:the|this|your)\b",
        r"thank(?:s| you) for (?:your|the)\b",
        r"best regards\b",
        *("希望(?:这|能|对)", "如果您", "注[:：]", "如有"),
    ),
    re.MULTILINE,
)
#: What CLOSING cannot do without, in lower case.
CLOSING_HINTS = ("hope", "let me", "feel free", "anything else", "like me to", "希望这")
#: The same at the end of a paragraph, of these alone: nothing else begins so.
CLOSING = re.compile(
    r"(?<=[.!?”\")*。])\s{0,3}[*_(]{0,3}(?P<said>"
    + _any(
        r"I (?:really )?hope (?:this|that) (?:helps|meets|is|article|version|re)",
        "(?:please )?let me know if",
        "feel free to (?:ask|reach|let)",
        "is there anything else (?:you|I)",
        "would you like me to",
        "please let me know",
        "希望这",
    )
    + r")[^\n]*\Z",
    re.IGNORECASE,
)

# --- in place of a text

_CANNOT = _any(
    r"I can(?:['’]t|not| not)\b",
    r"I(?:['’]m| am) (?:unable|not able|not comfortable|not permitted|not allowed)\b",
    r"I (?:won['’]t|will not|must decline|do not feel comfortable|don['’]t feel comfortable)\b",
)
_SORRY = _any(
    r"(?:I['’]m |I am )?(?:really |very |so |truly )?sorry",
    "(?:my )?apologies",
    "I (?:sincerely |do )?apologi[sz]e",
    *("unfortunately", "regrettably", "I regret"),
)
REFUSAL = re.compile(
    r"\W{0,4}"
    + _any(
        rf"{_SORRY}\b[^\n]{{0,80}}?\b{_CANNOT}",
        rf"{_CANNOT} (?:to )?(?:assist|comply|fulfil|help (?:you|with)|provide|create|generate|produce|re-?write"
        r"|re-?phrase|continue|answer|write|do (?:that|this)|process|engage)",
        r"As an? (?:AI|artificial intelligence|(?:large )?language model)(?: model| assistant| language model)?, I\b",
        r"As an AI language model\b",
        r"I['’]m sorry for (?:any|the) (?:confusion|inconvenience)",
        r"(?:this|the|your) (?:request|content|text|document|prompt) (?:violates|goes against"
        r"|contains (?:harmful|inappropriate|explicit|sensitive))",
        r"(?:I['’]m|I am) (?:designed|programmed|just an? (?:AI|language))",
        *("对不起", "抱歉", "很抱歉", "非常抱歉", "我(?:无法|不能)", "申し訳(?:ありません|ございません)", "죄송"),
        *(r"(?:je suis )?désolée?\b", r"lo siento\b", r"(?:es )?tut mir leid\b", r"mi dispiace\b", r"desculpe\b"),
        *(r"sinto muito\b", r"извините\b", r"к сожалению, я\b"),
    ),
    re.IGNORECASE,
)
_WANTED = _any(
    *("documents?", "texts?", "passages?", "articles?", "content", "details", "information", "material", "excerpt"),
    *("input", "parts?", "first part"),
)
#: One of these is in all that REQUEST finds. To look for them is much faster than a search at every character.
REQUEST_HINTS = (
    *("please", "kindly", "could you", "can you", "would you", "do you", "should you", "you have", "you did"),
    *("you forgot", "i do", "i did", "i can", "i could", "no ", "seems", "looks like", "appears"),
    *("ready to", "happy to", "glad to", "here to", "请", "您", "veuillez", "por favor", "bitte"),
)
#: Somewhere in the first lines, in lower case.
REQUEST = re.compile(
    r"(?<!\w)(?=[pckwitnyslaf请您vb])"
    + _any(
        r"(?:please|could you|can you|kindly|would you)(?: please| kindly)? (?:provide|share|paste|send|give|supply"
        rf"|upload|attach|include|specify|tell|copy)\b[^?!\n]{{0,80}}?\b(?:{_WANTED}|it|them)\b[^\n]{{0,100}}?\b"
        r"(?:i\b|me\b|you(?:['’]d| would) like|you (?:want|need|wish)|to (?:be )?(?:re-?writ|re-?phras)"
        r"|need(?:s|ed)? to|here|below|[?])",
        rf"please (?:provide|share|paste|send|give) (?:me )?(?:with )?(?:the|your|a|some) (?:\w+ )?{_WANTED}[.!:]",
        rf"i (?:do{_NOT}|did{_NOT}|cannot|can['’]t|could{_NOT})(?: \w+)? (?:see|find|have|detect|receive|notice"
        rf"|access)\b[^.\n]{{0,40}}\b{_WANTED}\b",
        r"(?:there (?:is|was|are|seems to be)|i see) no (?:\w{1,12} )?(?:document|text|passage|article)s?\b",
        rf"no {_WANTED} (?:was|is|has been|were) (?:provided|given|included|attached|shared)",
        rf"you (?:have{_NOT}|did{_NOT}|forgot to|have yet to)(?: yet)? (?:provide|include|share|paste|attach|give"
        r"|specif)\w*",
        rf"(?:what|which) {_WANTED} (?:would|do|should) you\b",
        rf"(?:seems|looks like|appears)(?: that)? (?:you|the {_WANTED}|your {_WANTED}) (?:have{_NOT}|did{_NOT}|forgot"
        rf"|is missing|was{_NOT}|is empty|is incomplete|got cut|was cut)",
        r"i(?:['’]m| am|['’]d be|['’]ll be| would be) (?:ready|happy|glad|here) to (?:help|assist|re-?write"
        r"|re-?phrase)\b[^\n]{0,120}\b(?:once|please|what|when|if you|provide|share|paste)",
        *("请(?:您)?(?:提供|输入|发送|把)", "您(?:没有|还没有|尚未)提供", "veuillez (?:fournir|me)"),
        *("por favor,? (?:proporci|comparte|env)", "bitte (?:geben|senden|teilen|stellen) sie"),
    ),
)

# --- about a text: on lower case, and from a few letters on, which is many times faster

_META_NOUN = (
    "(?:text|explanation|document|passage|article|excerpt|paragraph|content|author|writer|prompt|instructions?)"
)
META = re.compile(
    r"th(?:e|is) (?:above|given|provided|original|re-?written|re-?phrased|input|source|aforementioned) "
    rf"{_META_NOUN}\b"
)
META_PHRASES = (
    *(f"{noun} above" for noun in ("text", "document", "passage", "article")),
    *("you provided", "provided by the user", "you shared", "in my own words", "in your own words"),
    *("rewritten version", "rephrased version", "rewriting of the", "rewritten text", "rewritten article"),
    *("rephrased text", "as requested", "the first sentence", "the second sentence", "the third sentence"),
    *("the first part of the text", "the second part of the text", "the text is structured", "the text itself is"),
    *("the text then", "the text opens", "the text begins", "the text moves", "the text is discussing"),
)
#: One of these is in all that META and META_PHRASES find.
META_WORDS = frozenset(
    [
        *("above", "given", "provided", "original", "rewritten", "written", "input", "source", "aforementioned"),
        *("shared", "own", "rephrased", "rewriting", "requested", "sentence", "text"),
    ]
)
#: At the beginning alone.
ABOUT = re.compile(
    rf"\W*(?:the|this|your) {_META_NOUN} (?:[a-z]+ly )?"
    + _any(
        *("is about", "is an?", "is (?:attempting|designed|discussing|explaining|structured)", "is a continuation"),
        *("appears", "begins", "captures", "conveys", "covers", "delves", "describes", "details", "discusses"),
        *("emphasizes", "explains", "explores", "focuses on", "highlights", "implies", "mentions", "moves", "needs"),
        *("offers", "opens", "outlines", "presents", "provides", "says", "seems", "states", "suggests"),
        *("talks about", "you", "also"),
    )
    + r"\b"
)

# --- to itself

_HESITATES = _any(
    *("okay", "ok", "alright", "all right", "hmm+", "so", "well", "right", "now", "first", "got it", "let's see"),
    *("let me see", "wait"),
)
_TASK_VERB = r"(?:re-?writ|re-?phras|paraphras|encyclop)"
_TASK_NOUN = r"(?:document|text|passage|article|prompt|instructions?|task|cut|first part)"
#: What a model tells itself about its task, with a template that began its reasoning for it.
TALKS = re.compile(
    rf"\W{{0,4}}(?:{_HESITATES}\b[\s,.:!…-]{{1,4}}){{0,3}}"
    + _any(
        r"the user(?:['’]s (?:request|instruction|prompt)| (?:has |is |just )*(?:wants?|ask(?:s|ed|ing)"
        rf"|request(?:s|ed|ing)|needs?|provided|gave|given|would like))[^.\n]{{0,80}}?\b(?:me\b|us\b|{_TASK_VERB}"
        rf"|an? {_TASK_NOUN}|the {_TASK_NOUN})",
        rf"(?:I|we|let me|let['’]s)\b[^.\n]{{0,60}}?\b(?:{_TASK_VERB}|the user\b|the (?:given |provided |original )?"
        rf"{_TASK_NOUN}\b)",
        r"(?:the|this) (?:prompt|task|instructions?)\b[^.\n]{0,30}\b(?:is to|asks?|says?|wants?|requires?)\b"
        rf"[^.\n]{{0,40}}{_TASK_VERB}",
        "(?:好的|嗯|首先|好)[，,。]?\\s?(?:用户|我需要|我要|我得|让我)",
        "用户(?:要求|希望|让我|想要|需要我|提供)",
    ),
    re.IGNORECASE,
)
#: What is said in reasoning and rarely elsewhere, in lower case.
TALK_PHRASES = (
    *("the user", "i need to", "i should", "let me", "wait,", "hmm", "the prompt", "the instruction", "maybe i"),
)
#: One for each of these phrases, or several.
TALK_WORDS = frozenset(
    [
        *("user", "users", "need", "should", "shouldn", "let", "wait", "hmm", "hmmm", "prompt", "prompts"),
        *("instruction", "instructions", "maybe"),
    ]
)
