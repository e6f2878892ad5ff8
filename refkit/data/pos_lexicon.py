"""Words that captions of regions are full of, with their Penn Treebank tags; read by `tag_by_rules`."""

from __future__ import annotations


def _lexicon(**words: str) -> dict[str, str]:
    return {word: tag for tag, text in words.items() for word in text.split()}


TAGS_OF_WORDS = _lexicon(
    DT="a an the this that these those each every some any no another both all",
    IN="""
    in on at of with by behind beside besides between under above over below near from inside outside against
    along around across before after beneath underneath without into onto off through during beyond within
    toward towards like as than if while because up down
    """,
    TO="to",
    CC="and or but nor",
    CD="one two three four five six seven eight nine ten eleven twelve twenty thirty hundred",
    PRP="i you he she it we they him us them himself herself itself themselves",
    WDT="which what whatever",
    WP="who whom whose",
    WRB="where when how why",
    EX="there",
    MD="can could will would shall should may might must",
    VBZ="is has does says wears holds sits stands looks reads faces lays hangs shows",
    VBP="are am have do",
    VBD="was were had did sat stood lay held wore",
    VB="be stop look see",
    VBN="""
    been made seen worn shown built taken driven broken covered parked tied attached mounted filled stacked
    lined connected surrounded shaped used placed seated turned opened closed crossed topped
    """,
    RB="""
    not very far away together almost too also just really only so partially partly slightly fully completely
    here now forward forwards backward upwards apart n't
    """,
    POS="'s '",
    JJ="""
    black white red blue green yellow orange purple pink brown gray grey silver golden tan beige dark light
    bright colorful colored small large big little tiny huge tall short long thin thick wide narrow young old
    new elderly wooden metallic round square rectangular circular flat empty full open wet dry clean dirty
    shiny striped checkered plaid floral spotted furry fluffy curly bald left right next other same different
    many several few more most front middle upper lower first second third last double single high low blurry
    blurred clear cloudy sunny sandy rocky grassy snowy leafy bare electric plastic leather stainless ripe
    fresh cooked baked sliced chopped hot cold cute happy sleepy busy main nearby distant visible pretty nice
    good asian male female wild stuffed fake real partial entire whole own such
    """,
    JJR="bigger smaller larger taller shorter longer closer darker lighter brighter older younger nearer",
    JJS="biggest smallest largest tallest shortest longest closest darkest lightest nearest farthest",
)
NOUNS = frozenset(
    _lexicon(
        NN="""
        awning building ceiling clothing covering earring frosting icing king lettering lighting marking
        painting parking pudding railing ring serving siding stuffing topping wedding wing string swing thing
        wiring writing family belly jelly bed shed seed weed bus glass grass dress cross boss mattress compass
        canvas gas lens moss
        """
    )
)
"""Nouns that end like verb forms, adverbs or plurals."""
