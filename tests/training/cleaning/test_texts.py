"""Each step on texts whose clean form is plain to see."""

from __future__ import annotations

import pytest

from megatick_contract.near_duplicates import near_duplicate_key
from megatick_training.cleaning.boilerplate import drop_boilerplate
from megatick_training.cleaning.characters import (
    collapse_space,
    drop_invisible,
    mend_encoding,
    narrow_full_width,
)
from megatick_training.cleaning.duplicates import facts_of
from megatick_training.cleaning.marks import cashtags_of, drop_links, keep_cashtags
from megatick_training.cleaning.markup import strip_markup
from megatick_training.cleaning.repeats import RepeatedPassages
from megatick_training.cleaning.stop_words import drop_stop_words


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        pytest.param("weakerâ€¦ guidance", "weaker… guidance", id="mojibake"),
        pytest.param("Cafe\u0301", "Café", id="composed"),
        pytest.param("10³ m² ½", "10³ m² ½", id="not-nfkc"),
        pytest.param("“up” 5%", "“up” 5%", id="quotes-stay"),
        pytest.param(
            "净利，增１０％（预计）", "净利，增１０％（预计）", id="chinese-stays"
        ),
    ],
)
def test_encoding(raw: str, clean: str) -> None:
    assert mend_encoding(raw) == clean


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        pytest.param("pro\u200bfit\ufeff", "profit", id="zero-width"),
        pytest.param("so\u00adft", "soft", id="soft-hyphen"),
        pytest.param("\u202eup\u202c", "up", id="direction"),
        pytest.param("a\u200db", "ab", id="joiner-in-latin"),
        pytest.param("江\u200c丰", "江丰", id="joiner-in-chinese"),
        pytest.param("👨\u200d💻 ❤\ufe0f", "👨\u200d💻 ❤\ufe0f", id="emoji-stay"),
        pytest.param("می\u200cرود", "می\u200cرود", id="persian-stays"),
    ],
)
def test_invisible(raw: str, clean: str) -> None:
    assert drop_invisible(raw) == clean


def test_full_width_letters_and_figures_only() -> None:
    assert (
        narrow_full_width("Ａ股涨２．５％，“好”：！？（）") == "A股涨2.5%，“好”：！？（）"
    )


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        pytest.param("<p>Up <b>5</b>%</p><p>Oil</p>", "Up 5%\n\nOil", id="blocks"),
        pytest.param("up<br/>down", "up\n\ndown", id="break"),
        pytest.param("S&amp;P R&D AT&T", "S&P R&D AT&T", id="entities"),
        pytest.param("AT&amp;amp;T", "AT&T", id="escaped-twice"),
        pytest.param("&lt;p&gt;up&lt;/p&gt;", "up", id="tags-escaped"),
        pytest.param("<style>p{}</style>up<!-- x -->", "up", id="unseen"),
        pytest.param("Acme <ACME.O> < Wile", "Acme <ACME.O> < Wile", id="no-markup"),
        pytest.param("<i>Acme</i> <ACME.O>", "Acme <ACME.O>", id="beside-markup"),
        pytest.param("R&copy Co", "R&copy Co", id="no-semicolon"),
    ],
)
def test_markup(raw: str, clean: str) -> None:
    assert strip_markup(raw) == clean


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        pytest.param("cut https://t.co/x1… up", "cut … up", id="short"),
        pytest.param("see www.acme.example/a?b=1.", "see .", id="www"),
        pytest.param("详见https://a.cn/b，公司", "详见，公司", id="chinese"),
        pytest.param("pic.twitter.com/AbC9", "", id="picture"),
        pytest.param("Amazon.com and 1.5B", "Amazon.com and 1.5B", id="names-stay"),
    ],
)
def test_links(raw: str, clean: str) -> None:
    assert drop_links(raw) == clean


def test_cashtags_are_no_amounts() -> None:
    text = "$acme US$5 $12.5B $BRK.B. A$3 $1,000"

    assert cashtags_of(text) == ("ACME", "BRK.B")
    assert keep_cashtags(text) == "$ACME US$5 $12.5B $BRK.B. A$3 $1,000"


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        pytest.param("RT @desk: Up", "Up", id="retweet"),
        pytest.param("LONDON, Jan 5 (Reuters) - Up", "Up", id="dateline"),
        pytest.param("/PRNewswire/ -- Up", "Up", id="wire"),
        pytest.param("Up. Click here to subscribe.", "Up. ", id="call"),
        pytest.param("Up.\n© 2026 Acme Media. No advice.", "Up.\n", id="copyright"),
        pytest.param("Up.\nSOURCE Acme Corp", "Up.\n", id="source"),
        pytest.param(
            "证券网讯（记者 某某）某某(行情600000,诊股)涨", "某某涨", id="chinese"
        ),
        pytest.param("某某涨。责任编辑：某某", "某某涨。", id="editor"),
        pytest.param("科大讯飞涨", "科大讯飞涨", id="a-name-is-no-wire"),
        pytest.param(
            "Funds subscribe to 80% of the issue",
            "Funds subscribe to 80% of the issue",
            id="investors-subscribe",
        ),
        pytest.param("Acme (Oslo) - up", "Acme (Oslo) - up", id="brackets"),
        pytest.param("Up. Copyright 2026 Acme", "Up. ", id="copyright-in-words"),
        pytest.param("Up. Copyright Acme Media 2026", "Up. ", id="copyright-of-whom"),
        pytest.param("涨。更多内容请下载", "涨。", id="more"),
        pytest.param("涨。请点击查看原文", "涨。", id="click"),
        pytest.param("某某涨 扫描下方二维码关注我们", "某某涨 ", id="follow"),
    ],
)
def test_boilerplate(raw: str, clean: str) -> None:
    assert drop_boilerplate(raw) == clean


@pytest.mark.parametrize(
    "news",
    [
        "Sign up for Medicare falls 12% in the first week",
        "Subscribe now, pay later: Acme tests a plan",
        "Copyright suit filed in 2023 weighs on Acme",
        "Acme wins Copyright case of 2019 against Wile",
        "501(c)(4) groups spent $1bn in 2024 against Acme",
        "SOURCE CLOSE TO ACME SAYS BID TO BE RAISED",
        "某某将推出更多内容提振订阅",
        "某某称用户点击进入程序的次数翻倍",
        "央行新规 扫静态二维码每天限额500元",
    ],
)
def test_news_is_no_boilerplate(news: str) -> None:
    assert drop_boilerplate(news) == news


def test_space() -> None:
    assert collapse_space(" a\u3000b\t c \r\n\n\u00a0d ") == "a b c\nd"


def test_stop_words_carry_what_a_model_must_not_lose() -> None:
    assert drop_stop_words("not above").strip() == ""
    assert drop_stop_words("Profit is up").split() == ["Profit"]
    assert drop_stop_words("不是") == ""


@pytest.mark.parametrize(
    ("text", "left"),
    [
        pytest.param("我们的利润没有增长", "利润 没有 增长", id="we-of-go"),
        pytest.param("A股的股价", "A股 股价", id="letters-of-a-word"),
        pytest.param("增长了20%，而不是下降", "增长 20%，下降", id="punctuation-stays"),
        pytest.param("Acme的股价 is up", "Acme 股价", id="both-languages"),
    ],
)
def test_stop_words_of_chinese(text: str, left: str) -> None:
    assert drop_stop_words(text).strip() == left


def test_facts_keep_apart_what_reads_alike() -> None:
    assert facts_of("$A cut to $120") != facts_of("$A cut to $95")
    assert facts_of("$A cut to $120") != facts_of("$B cut to $120")
    assert facts_of("$b, $A 1") == facts_of("$A: $b (1)")
    assert facts_of("Acme is up") == facts_of("Acme is up via @desk #stocks")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("Acme +3% premarket", "Acme -3% premarket", id="signs"),
        pytest.param("EPS of -$0.12", "EPS of $0.12", id="a-sign-before-the-currency"),
        pytest.param("EPS of ($0.12)", "EPS of $0.12", id="a-loss-in-brackets"),
        pytest.param("EPS of $(0.12)", "EPS of $0.12", id="a-loss-in-inner-brackets"),
        pytest.param("Acme down $5", "Acme down 5%", id="units"),
        pytest.param("#BTC breaks out", "#ETH breaks out", id="hashtags"),
        pytest.param("@one will sell", "@two will sell", id="handles"),
        pytest.param("$BITCOIN is up", "$ETHEREUM is up", id="long-cashtags"),
        pytest.param("Acme 📈 today", "Acme 📉 today", id="charts"),
        pytest.param("Acme ▲ today", "Acme ▼ today", id="arrows"),
    ],
)
def test_facts_are_all_that_resemblance_leaves_away(one: str, other: str) -> None:
    assert near_duplicate_key(one) == near_duplicate_key(other)
    assert facts_of(one) != facts_of(other)


TAIL = "More on this in our morning briefing."


def repeated(texts: int, others: int) -> RepeatedPassages:
    passages = RepeatedPassages()
    for n in range(texts):
        passages.add("wire", f"News number {n} of this long day. {TAIL}")
    for n in range(others):
        passages.add("wire", f"Other news {n} of this long day. And its ending {n} too.")
    return passages


@pytest.mark.parametrize(
    ("texts", "others", "goes"),
    [
        pytest.param(10, 0, True, id="ten-of-ten"),
        pytest.param(9, 0, False, id="nine"),
        pytest.param(10, 190, True, id="ten-of-200-is-5-percent"),
        pytest.param(10, 191, False, id="ten-of-201-is-less"),
    ],
)
def test_repeats_are_counted(texts: int, others: int, goes: bool) -> None:
    dropped: list[str] = []

    left = repeated(texts, others).drop("wire", f"Up today. {TAIL}", dropped=dropped.append)

    assert left == ("Up today. " if goes else f"Up today. {TAIL}")
    assert dropped == ([TAIL] if goes else [])


def test_repeats_are_of_their_source_and_leave_something() -> None:
    passages = repeated(20, 0)

    assert passages.drop("desk", f"Up. {TAIL}") == f"Up. {TAIL}"
    assert passages.drop("wire", TAIL) == TAIL
    assert passages.drop("wire", f"{TAIL} {TAIL}") == f"{TAIL} {TAIL}"


def test_repeats_in_chinese() -> None:
    passages = RepeatedPassages()
    for n in range(10):
        passages.add("", f"第{n}号公司公告中标。更多信息请关注本网公众号。")

    assert passages.drop("", "某某股份涨停。更多信息请关注本网公众号。") == "某某股份涨停。"
