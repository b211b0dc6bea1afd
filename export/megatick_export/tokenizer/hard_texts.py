"""Texts on which two tokenizers part: what a reader's rules have to agree on."""

from __future__ import annotations

from typing import Final

_MONEY: Final = (
    "Profit rose to €1.2bn ($1.31bn, £1.02bn, ¥190bn, ₹10,900 crore, ₩1.8tn, ₿20,000).",
    "EPS of $-0.35 vs. $(0.12) expected; margin 12.5% ± 0.3pp, up 1,234,567.89",
    "1.234.567,89 EUR; 1 234 567 kr; 10'000 CHF; 3/8; 1e-5; 0x41; 2024-11-25T16:00Z",
    "$AAPL $BRK.B $TSLA+5%% AAPL.O BRK-B #earnings @reuters 7203.T",
    "https://example.com/a?b=c&d=%20e#f ftp://x.y:21/~z me@example.co.uk",
)
_SPACES: Final = (
    "",
    " ",
    "   ",
    " leading and trailing  ",
    "two  spaces   three    four",
    "tab\there\t\ttwo",
    "line\nbreak\n\ntwo\n",
    "carriage\r\nreturn\rhere\r\n",
    "form\x0cfeed\x0bvertical\x85next",
    "no\u00a0break\u2009thin\u3000ideographic\u2028line\u2029paragraph",
    "zero\u200bwidth\u200cnon\u200djoiner\ufeffmark\u2060word\u00adsoft",
    "nul\x00control\x01\x07\x1b[0m\x7f\x9f",
    "▁already▁escaped ▁▁ two▁",
    "\n",
    "\t leading tab",
)
_SCRIPTS: Final = (
    "Société Générale, Nestlé, Škoda, Ørsted, Þór, Łódź, Ünal, São Paulo",
    "Socie\u0301te\u0301 Ge\u0301ne\u0301rale, S\u030ckoda, a\u0308 A\u030a n\u0303",
    "Vietcombank tăng trưởng, Vie\u0323\u0302t Nam ty\u0309 do\u0302\u0300ng",
    "ΑΘΗΝΑΣ ΟΜΙΛΟΣ Σ ΟΔΟΣ. Αθήνας, İstanbul IŞIK ıı ẞ ß ǅ",
    "日本銀行は金利を据え置いた。中国人民银行降准0.5个百分点，한국은행 금리 동결",
    "\u1112\u1161\u11ab\u1100\u116e\u11a8 ｶﾀｶﾅ カタカナ ﾊﾟ ＡＢＣ１２３",
    "Сбербанк повысил прогноз; بنك الراجحي ١٢٣٤ ريال; בנק לאומי; बैंक ऑफ़ १२३; ธนาคาร",
    "ﬁnancial ﬂow ½ ¼ ² ³ ₂ ① Ⅳ ㎡ ㏒ ℡ № ™ ® © ℃ Å Ω",
    "𝐁𝐨𝐥𝐝 𝒮𝒸𝓇𝒾𝓅𝓉 𝟙𝟚𝟛 𠀀 𐍈",
)
_SIGNS: Final = (
    "📈 up 📉 down 🚀🚀🚀 💎🙌 🤣 🥇 🫡 👨‍👩‍👧‍👦 👍🏽 🇩🇪🇯🇵 1️⃣ ❤️ ™️",
    "“quoted” ‘single’ «guillemets» „low“ – — … • · ′ ″ − × ÷ ≠ ≤ → ↑",
    "don't can't we've they're I'm he'll she'd it's ROCK'N'ROLL O'Neill's ''s",
    "!!!??...,,,;;;:::---___***///\\\\\\|||~~~^^^```\"\"\"'''",
    "....... ======= ------- _______ 0000000 aaaaaaaaaa",
    "a.b.c. U.S. e.g., i.e.; A&B AT&T P/E R&D 50-50 mid-2024 pre-/post-",
    "(nested [brackets {of} <all> kinds])",
)
_SPELT_CONTROLS: Final = (
    "<|endoftext|> after",
    "before<|endoftext|>",
    "[CLS] Profit [SEP] rose [MASK] [PAD] [UNK] [BOS] [EOS]",
    "<s>Profit</s> <unk> <pad> <mask> <bos><eos> <extra_id_0>",
    "<CLS> <SEP> <EOD> <MASK> <PAD>",
    "<0x41><0x0A> <0xE2> &lt;s&gt;",
    "<|im_start|>system<|im_end|> [INST] [/INST] <<SYS>>",
)
_SIZES: Final = (
    "a",
    "é",
    "€",
    "📈",
    "antidisestablishmentarianism" * 8,
    "".join(str(number) for number in range(1000, 1100)),
    "x" * 150,
    "word " * 400,
    "é" * 120,
)

HARD_TEXTS: Final = (
    *_MONEY,
    *_SPACES,
    *_SCRIPTS,
    *_SIGNS,
    *_SPELT_CONTROLS,
    *_SIZES,
)
