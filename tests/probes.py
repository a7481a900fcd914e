"""What models say besides the text that was asked for, and what of it is kept: probes of each kind.

``DOCUMENT`` is what was sent, ``ARTICLE`` a sound rewriting of it. A probe is a text, and what the gates make of it.
"""

PROMPT = (
    "Below is a document. Write an encyclopedia-style article that carries everything the document says: the same "
    "facts, names, numbers, code and reasoning, in your own clear and well-ordered prose. Answer with the article "
    "alone, without an introduction or a closing remark.\n\nDocument:\n\n{document}"
)
DOCUMENT = (
    "The old lighthouse at Skerryvore was built between 1838 and 1844 by Alan Stevenson. It stands on a reef twelve "
    "miles south-west of Tiree and is made of 4,308 tons of granite. In winter the workmen lived in a wooden barrack "
    "on the rock, which a storm had swept away in the first year. The lamp was lit on 1 February 1844. A fire in 1954 "
    "damaged the tower, and since 1994 nobody has lived there, because the light was made automatic."
)
ARTICLE = (
    "Skerryvore is a granite lighthouse that Alan Stevenson erected on a reef some twelve miles to the south-west of "
    "Tiree. Work took from 1838 to 1844 and used 4,308 tons of stone. The men spent the winters in a barrack of wood; "
    "the first one was lost to a storm within a year. The lamp first shone on 1 February 1844.\n\n"
    "The tower suffered a fire in 1954. It has had no keepers since 1994, when the light became automatic."
)
THOUGHT = (
    "The user wants me to rewrite the document as an encyclopedia article. I need to keep all the facts: 1838 to 1844, "
    "Alan Stevenson, 4,308 tons. Let me draft it. I should avoid mentioning the document."
)

REASONING = [
    f"<think>\n{THOUGHT}\n</think>\n\n",
    f"<think>{THOUGHT}</think>",
    f"{THOUGHT}\n</think>\n\n",
    f"{THOUGHT}</think>\n",
    f"{THOUGHT}\n\n</think>",
    "Okay, so first the facts. Then the order.\n</think>\n\n",
    "<think>\n\n</think>\n\n",
    f"<think>\n{THOUGHT}\n</think>\n<think>\nOnce more.\n</think>\n",
    f"<thinking>\n{THOUGHT}\n</thinking>\n\n",
    f"<thought>\n{THOUGHT}\n</thought>\n\n",
    f"<reasoning>\n{THOUGHT}\n</reasoning>\n",
    f"<Thought>\n{THOUGHT}\n</Thought>\n",
    f"<reflection>{THOUGHT}</reflection>\n",
    f"<scratchpad>\n{THOUGHT}\n</scratchpad>\n",
    f"<analysis>\n{THOUGHT}\n</analysis>\n\n",
    f"<inner_monologue>{THOUGHT}</inner_monologue>\n",
    f"<seed:think>{THOUGHT}</seed:think>",
    f"[THINK]{THOUGHT}[/THINK]",
    f"{THOUGHT}[/THINK]\n\n",
    f"◁think▷{THOUGHT}◁/think▷",
    f"<|begin_of_thought|>\n{THOUGHT}\n<|end_of_thought|>\n\n",
    f"<|START_THINKING|>{THOUGHT}<|END_THINKING|>",
    f"<|thinking|>{THOUGHT}<|/thinking|>\n",
    f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant<|channel|>final<|message|>",
    f"analysis<|message|>{THOUGHT}<|end|><|start|>assistant<|channel|>final<|message|>",
    f"analysis{THOUGHT}assistantfinal",
    f"<|channel>thought\n{THOUGHT}<channel|>",
    f"thought\n{THOUGHT}\n<channel|>",
    f"Thinking Process:\n\n1. {THOUGHT}\n\n</think>\n\n",
    f"Thinking...\n{THOUGHT}\n...done thinking.\n\n",
    f"Here is my thought process:\n\n{THOUGHT}\n\nHere is my response:\n\n",
    f"Here are my reasoning steps:\n{THOUGHT}\n[BEGIN FINAL RESPONSE]\n",
    f"**Thinking:** {THOUGHT}\n\n**Final Answer:**\n\n",
]

#: Before a sound text; taken off.
BEFORE = [
    *REASONING,
    PROMPT.replace("{document}", DOCUMENT) + "\n\n",
    f"{DOCUMENT}\n\n",
    f"{DOCUMENT}\n\nRewritten text:\n\n",
    "<|im_start|>assistant\n",
    "<|assistant|>\n",
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "<start_of_turn>model\n",
    "[/INST] ",
    "<s>",
    "<｜Assistant｜>",
    "<answer>\n",
    "Rewritten text:\n\n",
    "**Rewritten text:** ",
    "Rewritten Text: ",
    "**Article:**\n\n",
    "Article: ",
    "Answer:\n",
    "# Rewritten Article\n\n",
    "**Rewritten Article**\n\n",
    "## Encyclopedia-style article:\n\n",
    "### Response:\n",
    "Output: ",
    "Rephrased version:\n",
    "The rewritten article:\n\n",
    "Document:\n\n",
    "Summary: ",
    "Assistant: ",
    "AI: ",
    "Sure!\n\n",
    "Certainly! ",
    "Sure, here is the rewritten article:\n\n",
    "Here is the article:\n\n",
    "Here is the rewritten text: ",
    "Here is a rewritten version of the document:\n\n---\n\n",
    "Here's an encyclopedia-style article based on the document you provided:\n\n",
    "Here’s a rewrite in my own words:\n\n",
    "Of course! Below is the encyclopedia-style article.\n\n",
    "I have rewritten the document as an encyclopedia article:\n\n",
    "Absolutely! I'd be happy to help. Here is the text, rephrased:\n\n",
    "Below is an encyclopedia-style article that carries everything the document says:\n\n",
    "Based on the document, here is the article:\n\n",
    "Voici l'article réécrit :\n\n",
    "以下是改写后的文章：\n\n",
    "好的，以下是改写后的文章：\n\n",
    "---\n\n",
    "Rewrite this text in your own words, with the same information as before:\n\n",
    "Write an encyclopedia-style article that carries everything the document says:\n\n",
    "Here is the article:\n\nAnswer with the article alone, without an introduction or a closing remark.\n\n",
]

#: After a sound text; taken off.
AFTER = [
    "<|im_end|>",
    "<|eot_id|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|end|>",
    "<|return|>",
    "<｜end▁of▁sentence｜>",
    "<|im_end|>\n<|im_start|>user\nNow rewrite this one, too.",
    "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nThanks!",
    "\n</answer>",
    "\n\n### Instruction:\nWrite about another lighthouse.",
    "\n\nHuman: Thank you!\n\nAssistant: You are welcome.",
    "\n\nI hope this helps!",
    " I hope this helps!",
    "\n\nI hope this meets your requirements. Let me know if you need anything else.",
    "\n\nLet me know if you'd like me to change anything!",
    "\n\nNote: I have kept all the facts, names and numbers.",
    "\n\n**Note:** This rewritten version keeps the original facts.",
    "\n\n(Note: I've tried to keep the original meaning.)",
    "\n\n*Note: The above article is based on the document.*",
    "\n\n---\n\nThis article maintains all the facts of the original in a clear style.",
    "\n\nThis rewrite preserves the original information and improves readability.",
    "\n\nChanges made:\n- shorter sentences\n- a clearer order",
    "\n\nPlease let me know if you need further changes.",
    "\n\nFeel free to ask for a longer version.",
    "\n\nWould you like me to write another one?",
    "\n\nIf you have any questions, feel free to ask.",
    "\n\nIs there anything else I can help with?",
    "\n\n(Word count: 84)",
    "\n\n[End of article]",
    "\n\nI have rewritten the text in my own words and kept the facts.",
    "\n\n---",
    "\n\nAnswer with the article alone, without an introduction or a closing remark.",
]

#: Instead of a text, and the cause under which it is rejected.
INSTEAD = [
    (f"<think>\n{THOUGHT}", "only reasoning"),
    (f"<think>\n{THOUGHT}\n</think>", "only reasoning"),
    (THOUGHT, "only reasoning"),
    (f"Okay, {THOUGHT[0].lower()}{THOUGHT[1:]}", "only reasoning"),
    (
        "Okay, let me rewrite this document. First the dates: 1838 to 1844. Then the reef and the granite.",
        "only reasoning",
    ),
    (
        "We need to write an encyclopedia-style article about Skerryvore. Must keep the facts. Granite, 4,308 tons.",
        "only reasoning",
    ),
    ("Alright, so I need to rewrite the text about the lighthouse. Let me start with Stevenson.", "only reasoning"),
    ("Hmm, the user has provided a document on a lighthouse. Facts: 1838, 1844.", "only reasoning"),
    ("好的，用户希望我改写这篇关于灯塔的文章。首先要保留所有事实。", "only reasoning"),
    (f"[THINK]{THOUGHT}", "only reasoning"),
    (f"<|channel|>analysis<|message|>{THOUGHT}", "only reasoning"),
    (f"◁think▷{THOUGHT}", "only reasoning"),
    (f"Thinking Process:\n\n1.  **Analyze the request:** {THOUGHT}", "only reasoning"),
    (f"{ARTICLE}\n\n<think>\n{THOUGHT}", "chat markup"),
    (f"{ARTICLE[:200]}<|fim_middle|>{ARTICLE[200:]}", "chat markup"),
    ("I'm sorry, but I can't help with that.", "refusal"),
    ("I cannot rewrite this document because it may be protected by copyright.", "refusal"),
    ("As a large language model, I am not able to do that.", "refusal"),
    ("I'm really sorry, but I must decline. I cannot assist.", "refusal"),
    ("对不起，我无法完成这个请求。", "refusal"),
    ("Lo siento, pero no puedo ayudar con eso.", "refusal"),
    ("Please provide the document that you would like me to rewrite.", "asks for the document"),
    ("Please provide the text.", "asks for the document"),
    ("I don't see any text in your message. Could you share the document again?", "asks for the document"),
    ("It looks like you haven't provided a document. Please paste it here.", "asks for the document"),
    ("I'd be happy to help! Please share the document you'd like me to rewrite.", "asks for the document"),
    ("Sure! What text would you like me to rewrite?", "asks for the document"),
    ("No document was provided.", "asks for the document"),
    ("I am ready to help. Please send me the text.", "asks for the document"),
    (f"The document describes a lighthouse. {ARTICLE}", "speaks of the text"),
    (f"{ARTICLE} The above text is about a lighthouse.", "speaks of the text"),
    (f"The first sentence explains when it was built. {ARTICLE}", "speaks of the text"),
    (f"The text is structured in a logical way. {ARTICLE}", "speaks of the text"),
    (f"{ARTICLE} The second sentence is a continuation of it.", "speaks of the text"),
    (f"{ARTICLE[:-1]}, as the original document explains.", "speaks of the text"),
    (PROMPT.replace("{document}", DOCUMENT), "copy"),
    (f"{ARTICLE[:200]}\n\n{DOCUMENT}\n\n{ARTICLE[200:]}", "copy"),
    (f"Write an encyclopedia-style article that carries everything the document says. {ARTICLE}", "prompt echo"),
    (DOCUMENT, "copy"),
    (f"Article: {DOCUMENT}", "copy"),
    (DOCUMENT.replace("old", "ancient"), "copy"),
    (DOCUMENT[: len(DOCUMENT) // 2], "copy"),
    (f"{DOCUMENT}\n\nI hope this helps!", "copy"),
    (
        "La cocina italiana se conoce en todo el mundo por su pasta y su pizza. Cada región tiene sus propios platos, "
        "y "
        "en el norte se come más arroz que en el sur, donde hay más aceite de oliva y más tomate en la mesa.",
        "another language",
    ),
    (
        "Le phare de Skerryvore fut construit entre 1838 et 1844 par Alan Stevenson. Il se dresse sur un récif à douze "
        "milles au sud-ouest de Tiree et il est fait de 4 308 tonnes de granit. En hiver, les ouvriers vivaient dans "
        "une "
        "baraque en bois sur le rocher. La lampe fut allumée le 1er février 1844.",
        "another language",
    ),
    (
        "Der Leuchtturm von Skerryvore wurde von Alan Stevenson zwischen 1838 und 1844 auf einem Riff gebaut. Er steht "
        "zwölf Meilen von Tiree und ist aus 4.308 Tonnen Granit. Im Winter lebten die Arbeiter in einer Baracke aus "
        "Holz "
        "auf dem Felsen, und die Lampe wurde am 1. Februar 1844 zum ersten Mal angezündet.",
        "another language",
    ),
    (
        "斯凯里沃尔灯塔由艾伦·史蒂文森于1838年至1844年间建造。它矗立在泰里岛西南十二英里的礁石上,由花岗岩建成。冬天工人住在木屋里,第一年的风暴把它卷走了。一八四四年二月一日灯塔首次点亮。一九五四年发生火灾,一九九四年以后无人居住。",
        "another language",
    ),
    (
        f"{ARTICLE}\n\n这座灯塔由花岗岩建成,冬天工人住在礁石上的木屋里。一九五四年发生火灾,一九九四年以后无人居住,灯光实现自动化,塔楼仍然矗立在海上。"
        * 1,
        "another language",
    ),
    (
        "Baking bread at home needs only flour, water, salt and yeast. The dough rests for an hour, then it is folded "
        "and "
        "shaped into a loaf. A hot oven gives the crust its colour, while steam keeps the crumb soft and light inside.",
        "off topic",
    ),
    (
        "Machine learning is a field of computer science in which algorithms improve through experience. Neural "
        "networks "
        "consist of layers of units, each of which applies a function to a weighted sum of its inputs.",
        "off topic",
    ),
    ("The light shone. " * 60, "repetition"),
]

#: Documents that speak of marks, requests and the like themselves, and rewritings that do so, too: nothing is touched.
KEPT = [
    (
        "Reasoning models open their reasoning with <think> and close it with </think>. The chat template of some "
        "opens it "
        "for them, so that only </think> comes back in an answer. A parser has to know both, or reasoning leaks.",
        "A model that reasons writes its reasoning between <think> and </think>. Where the template has already "
        "written "
        "the first mark, an answer contains </think> alone, and a parser that expects both lets reasoning through.",
    ),
    (
        "How to parse it:\n\n<think>\nThe sum is 4.\n</think>\n4\n\nThe first part is reasoning, the rest is the "
        "answer to show.",
        "Parsing works as follows. In\n\n<think>\nThe sum is 4.\n</think>\n4\n\nthe answer to show is what comes "
        "after the "
        "reasoning.",
    ),
    (
        "</think> is the tag that closes reasoning. <think> opens it, and both are special tokens of the tokenizer.",
        "<think> is the special token that begins reasoning, and </think> is the one of the tokenizer that ends it.",
    ),
    (
        "ChatML wraps each turn between <|im_start|> and <|im_end|>. Llama 3 uses <|eot_id|> instead, Gemma "
        "<end_of_turn>, "
        "and Mistral puts instructions between [INST] and [/INST].",
        "In ChatML a turn stands between <|im_start|> and <|im_end|>; the end of a turn is <|eot_id|> for Llama 3 and "
        "<end_of_turn> for Gemma. Instructions to Mistral stand between [INST] and [/INST].",
    ),
    (
        "Answer: 42. This is what the computer said after seven million years, and nobody knew what the question had "
        "been.",
        "Answer: 42. So spoke the computer when seven million years had passed, though the question was known to "
        "nobody.",
    ),
    (
        "\"I'm sorry, I can't help with that,\" said the clerk at the counter. Anna left the office and walked to the "
        "river, "
        "where the boats were tied up for the winter.",
        "I'm sorry, I can't help with that: so the clerk spoke to Anna, who left for the river and its boats, tied up "
        "for "
        "the winter.",
    ),
    (
        "Please provide the documents that you need translated to the desk before noon, the notice says. Visitors "
        "without "
        "documents wait in the hall.",
        "Please provide the documents that you need translated to the desk by noon, since visitors without documents "
        "have "
        "to wait in the hall, as the notice has it.",
    ),
    (
        "The user provided the text of the password file. Note: I have kept the original document in the archive. I "
        "hope "
        "this helps, wrote the administrator at the end of his report about the break-in.",
        "In his report of the break-in the administrator said that the user provided the text of the password file.\n\n"
        "Note: I have kept the original document in the archive. I hope this helps, he wrote at the end.",
    ),
]

#: Sound texts that have something of a probe.
SOUND = [
    "Certainly, the tower of Skerryvore is one of the finest: Alan Stevenson built it of 4,308 tons of granite from "
    "1838 to "
    "1844, on a reef twelve miles south-west of Tiree. The first barrack of the workmen was lost in a storm.",
    "Analysis of the granite tower at Skerryvore begins with its weight of 4,308 tons. Alan Stevenson built the "
    "lighthouse "
    "on a reef near Tiree between 1838 and 1844, and a storm took the first wooden barrack.",
    "Here is where Alan Stevenson built: a reef twelve miles south-west of Tiree. The lighthouse of Skerryvore took "
    "him "
    "from 1838 to 1844 and 4,308 tons of granite, and the lamp was lit on 1 February 1844.",
    "# Skerryvore\n\nSkerryvore is a lighthouse.\n\n- **Built:** 1838 to 1844\n- **By:** Alan Stevenson\n- **Of:** "
    "4,308 "
    "tons of granite\n\n## Note\n\nThe barrack of wood was swept away by a storm in its first year.",
    "Summary of the works at Skerryvore shows that Stevenson, who built the lighthouse between 1838 and 1844, needed "
    "4,308 "
    "tons of granite. The reef lies twelve miles south-west of Tiree.",
    "I can only be reached by boat, the lighthouse of Skerryvore might say: the reef lies twelve miles from Tiree. "
    "Built by "
    "Stevenson from 1838 to 1844 of 4,308 tons of granite, it burned in 1954 and is automatic since 1994.",
    "Let the reader picture a reef twelve miles off Tiree, and on it 4,308 tons of granite. That is Skerryvore, which "
    "Alan "
    "Stevenson built between 1838 and 1844; its lamp was lit on 1 February 1844.",
    "Skerryvore lighthouse, built by Stevenson of granite between 1838 and 1844, stands on a reef twelve miles "
    "south-west "
    "of Tiree in the sea, where a storm swept the barrack away in the first year. On a reef twelve miles south-west of "
    "Tiree in the sea, where a storm swept the barrack away, a fire damaged the tower in 1954.",
]

#: More of them, of many kinds: a document, and a rewriting.
PAIRS = [
    (
        "To reverse a list in Python, call its reverse method, which changes the list itself and returns None. To keep "
        "the list, use the built-in reversed, or a slice with a step of minus one.",
        "Python reverses a list in two ways.\n\n```python\nitems.reverse()     # changes the list, returns None\n"
        "items[::-1]         # a slice: a new list, the old one is kept\nlist(reversed(items))\n```\n\nThe built-in "
        "`reversed` keeps the list, too.",
    ),
    (
        "Iron melts at 1538 degrees, copper at 1085, silver at 962, tin at 232 and mercury at -39 degrees Celsius. Of "
        "these metals only mercury is liquid at room temperature.",
        "| metal | melting point (Celsius) |\n|---|---|\n| iron | 1538 |\n| copper | 1085 |\n| silver | 962 |\n| tin | "
        "232 |\n| mercury | -39 |\n\nAt room temperature mercury alone of these metals is liquid.",
    ),
    (
        "What is a glacier? It is ice that moves under its own weight. Why does it move? Because ice yields under "
        "pressure, and because water lets it slide over rock. How fast? Mostly less than a metre a day.",
        "**Question:** What makes ice a glacier?\n**Answer:** That it moves under its own weight.\n\n**Question:** "
        "Why does "
        "it?\n**Answer:** Ice yields to pressure, and slides over rock on water.\n\n**Question:** At which pace?\n"
        "**Answer:** As a rule, under one metre a day.",
    ),
    (
        '"Will you come?" asked Mary. John said that he could not, for the harvest was not in, and the rain was '
        "near. "
        "She went to the fair alone and came home late.",
        'Mary asked John to come to the fair. "I can\'t," he told her; with rain near, the harvest had to be brought '
        "in. So "
        "Mary went alone, and it was late when she was home again.",
    ),
    (
        "Let n be odd. Then n = 2k + 1 for some integer k, and n squared is 4k^2 + 4k + 1, which is 2(2k^2 + 2k) + 1. "
        "Hence the square of an odd number is odd.",
        "The square of an odd number is odd. Write the number as n = 2k + 1 with an integer k. Its square is 4k^2 + "
        "4k + 1 = "
        "2(2k^2 + 2k) + 1, which is one more than an even number.",
    ),
    (
        "Der Dom zu Köln wurde 1248 begonnen und erst 1880 vollendet. Er ist 157 Meter hoch und war vier Jahre lang "
        "das "
        "höchste Gebäude der Welt. Im Krieg wurde er von vierzehn Bomben getroffen, aber er blieb stehen.",
        "An dem Kölner Dom wurde von 1248 bis 1880 gebaut. Mit seinen 157 Metern war er vier Jahre lang höher als "
        "jedes "
        "andere Gebäude der Welt. Vierzehn Bomben trafen ihn im Krieg, und doch blieb der Dom stehen.",
    ),
    (
        "La tour Eiffel fut construite par Gustave Eiffel pour l'exposition de 1889. Elle mesure 330 mètres et elle "
        "est en "
        "fer. On voulait la démonter après vingt ans, mais elle servait à la radio et elle est restée.",
        "Pour l'exposition de 1889, Gustave Eiffel a construit une tour de fer qui mesure 330 mètres. Elle devait "
        "être démontée "
        "au bout de vingt ans ; parce que la radio s'en servait, la tour est restée à Paris.",
    ),
    (
        "长城是中国古代的防御工程,修建的历史超过两千年。现存的城墙大多建于明朝,用砖石砌成,全长八千多公里。今天它是著名的旅游景点。",
        "作为古代中国的防御建筑,长城前后修建了两千多年。如今人们看到的城墙多为明代所建,材料是砖和石,总长八千余公里,已成为闻名的旅游胜地。",
    ),
    (
        "富士山は日本で一番高い山で、高さは3776メートルです。最後の噴火は1707年でした。夏には多くの人が登ります。",
        "日本の最高峰である富士山の高さは3776メートルに達する。1707年を最後に噴火していない。多くの登山者が夏に訪れる。",
    ),
    (
        "แม่น้ำเจ้าพระยาเป็นแม่น้ำสายสำคัญของประเทศไทย เกิดจากแม่น้ำปิงและแม่น้ำน่านไหลมารวมกันที่นครสวรรค์ และไหลลงสู่อ่าวไทย",
        "แม่น้ำปิงกับแม่น้ำน่านไหลมารวมกันที่จังหวัดนครสวรรค์เป็นแม่น้ำเจ้าพระยา ซึ่งเป็นแม่น้ำสำคัญของไทยและไหลออกสู่อ่าวไทย",
    ),
    (
        "Москва была впервые упомянута в 1147 году. Город стоит на реке, имя которой он носит, и с 1918 года снова "
        "столица "
        "страны. В нём живёт больше двенадцати миллионов человек.",
        "Впервые о Москве упоминается в 1147 году. На реке с тем же именем стоит город, который с 1918 года снова "
        "является "
        "столицей страны и где живёт более двенадцати миллионов человек.",
    ),
    (
        "Türkiye'nin başkenti Ankara'dır. Şehir 1923 yılında başkent oldu. Nüfusu beş milyondan fazladır ve ülkenin "
        "ikinci "
        "büyük şehridir. Anıtkabir burada bulunur ve her yıl çok sayıda insan tarafından ziyaret edilir.",
        "Ankara, 1923 yılından beri Türkiye'nin başkentidir. Beş milyonu aşan nüfusuyla ülkenin ikinci büyük şehri "
        "olan Ankara'da "
        "Anıtkabir bulunur; burayı her yıl çok sayıda insan ziyaret eder.",
    ),
    (
        "Knead flour, water and yeast into a dough, and let it rest for an hour. Bake the loaf for forty minutes at "
        "220 "
        "degrees. There is no hidden information in a recipe like this: anybody who has an oven can follow it.",
        "### Ingredients:\n\nflour, water, yeast\n\n### Instructions:\n\n1. **Dough:** knead the ingredients into one, "
        "which rests for an hour.\n2. **Baking:** forty minutes at 220 degrees.\n\nThere is no other information that "
        "somebody with an oven would need for such a recipe.",
    ),
    (
        "Contact the office between nine and five. Please provide your name and the number of your order, and let us "
        "know "
        "if the goods arrived damaged. We answer within two working days.",
        "The office can be reached from nine to five. It needs your name, the number of the order, and word of "
        "whether the "
        "goods came damaged; an answer takes two working days at most.",
    ),
    (
        "The user of the system has a home directory. The system asks the user for a password at login, and the user "
        "can "
        "change it with passwd. If the user forgets it, the administrator sets a new one.",
        "The user is asked for a password when logging in, and finds a home directory afterwards. With passwd the "
        "user can "
        "change the password; for one that was forgotten, the administrator sets another.",
    ),
]
