"""Scores of translations by sacrebleu and of classifications by scikit-learn: Tests/Fixtures/metrics/metrics.json."""

import random

import sacrebleu
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

import fixtures

# One case: hypotheses, then one or more reference streams. The sentences were written for this file.
CORPORA = {
    "equal": (["The cat sits on the mat.", "It rains, again."], [["The cat sits on the mat.", "It rains, again."]]),
    "near": (
        ["The cat sat on a mat.", "It rains again, they say.", "Two men are playing chess in a park."],
        [["The cat sits on the mat.", "It rains, again.", "Two men play chess in the park near the old bridge."]],
    ),
    "nothing in common": (["alpha beta gamma delta"], [["one two three four"]]),
    "no four-gram matches": (["the green house is very small"], [["a green house was not small at all"]]),
    "no bigram matches": (["cat the mat on sits today"], [["the cat sits on the mat"]]),
    "empty hypothesis": (["", "a small dog runs over the field"], [["a bird sings", "a small dog runs over a field"]]),
    "only empty hypotheses": (["", "   "], [["one two", "three"]]),
    "empty reference": (["some words stand here now"], [[""]]),
    "both empty": ([""], [[""]]),
    "one word": (["yes"], [["yes"]]),
    "three words": (["yes we can"], [["yes we can"]]),
    "short among long": (["No.", "He carries a red umbrella down the street."], [["No!", "He carries a red umbrella down a street."]]),
    "too long": (["a man a man a man a man a man walks"], [["a man walks"]]),
    "brevity": (["two dogs run through"], [["two brown dogs run through the high grass of a meadow"]]),
    "numbers": (
        ["It costs 1,000.50 euros, i.e. 3.5% of $28,571 - or 10-15 percent.", "On 3.4.2019 at 10:30, 5-4 won.", "v2.0,.5 and 7,"],
        [["It costs 1,000.5 euros, i.e. 3.5 % of $28,571 - or 10 - 15 percent.", "On 3.4.2019 at 10.30, 5-4 won.", "v2.0, .5 and 7."]],
    ),
    "punctuation": (
        ['"Well," he said; (no?) [yes!] {a/b} <c> d@e.f #g *h* i_j ~k~ `l` \\m\\ n^o p|q r=s t+u v&w.', "...", "a,b.c,.d", "don't can't 'tis o'clock"],
        [['"Well", he said: (no) [yes] {a / b} <c> d@e.f #g *h* i_j ~k~ `l` \\m\\ n ^ o p|q r = s t+u v & w!', "..", "a, b. c,.d", "do n't can 't 'tis o' clock"]],
    ),
    "entities": (
        ["A &amp; B &lt;tag&gt; says &quot;hi&quot; &amp;lt; now", "text <skipped> goes on and on"],
        [['A & B <tag> says "hi" < now', "text goes on and on"]],
    ),
    "line ends": (
        ["a hyphen-\nated word and\na new line here  ", "tabs\tand\u00a0fixed\u3000spaces\u2003are here\x1cnow"],
        [["a hyphenated word and a new line here", "tabs and fixed spaces are here now"]],
    ),
    "German": (
        ["Ein kleiner Hund läuft über die grüne Wiese.", "Zwei Männer spielen Fußball, während es regnet.", "Die Straße ist naß – „sehr“ naß."],
        [["Ein kleiner Hund rennt über eine grüne Wiese.", "Zwei Männer spielen Fussball, während es regnet.", "Die Strasse ist nass - „sehr“ nass."]],
    ),
    "composed and decomposed": (["caf\u00e9 cr\u00e8me br\u00fbl\u00e9e d\u00e9j\u00e0"], [["cafe\u0301 cre\u0300me bru\u0302le\u0301e d\u00e9j\u00e0"]]),
    "Korean": (["나는 오늘 학교에 갔다.", "이 영화는 정말 재미있다!"], [["나는 어제 학교에 갔다.", "이 영화 정말 재미있어요!"]]),
    "Japanese": (["吾輩は猫である。名前はまだ無い。"], [["我輩は猫である。名前は未だない。"]]),
    "emoji": (["good 👍🏽 job 👨‍👩‍👧 now 🇰🇷!"], [["good 👍 job 👨‍👩‍👧 now 🇰🇷 !"]]),
    "case": (["The Man Walks The Dog Home"], [["the man walks the Dog home"]]),
    "two references": (
        ["a man rides a bicycle down the road", "children play in the snow"],
        [
            ["a man is riding a bike along the road", "kids are playing in snow"],
            ["the man rides a bicycle on the road today", "children play outside in the deep snow"],
        ],
    ),
    "references of two lengths": (["one two three four five"], [["one two three four"], ["one two three four five six"]]),
    "three references, one empty": (["a b c d e f", "g h"], [["a b c d x f", ""], ["", "g h i"], ["b c d e f g", "h"]]),
}


def random_corpus(seed, sentences):
    """Sentences over a small vocabulary, and copies with words dropped, doubled, replaced and moved."""
    words = "a the man woman dog red blue house street is are walks, runs. 12 3.5 (old) it's co-op ßen 猫 — %".split()
    r = random.Random(seed)
    hypotheses, references = [], []
    for _ in range(sentences):
        reference = r.choices(words, k=r.randint(1, 25))
        hypothesis = []
        for word in reference:
            chance = r.random()
            if chance < 0.08:
                continue
            hypothesis.append(r.choice(words) if chance < 0.2 else word)
            if chance > 0.95:
                hypothesis.append(word)
        if r.random() < 0.3 and len(hypothesis) > 2:
            i = r.randrange(len(hypothesis) - 1)
            hypothesis[i], hypothesis[i + 1] = hypothesis[i + 1], hypothesis[i]
        hypotheses.append(" ".join(hypothesis))
        references.append(" ".join(reference))
    return hypotheses, [references]


def translation(name, hypotheses, references):
    bleu, chrf = sacrebleu.BLEU(), sacrebleu.CHRF()
    b, c = bleu.corpus_score(hypotheses, references), chrf.corpus_score(hypotheses, references)
    return {
        "name": name, "hypotheses": hypotheses, "references": references,
        "bleu": b.score, "precisions": b.precisions, "brevity_penalty": b.bp, "matches": b.counts, "totals": b.totals,
        "hypothesis_length": b.sys_len, "reference_length": b.ref_len, "text": str(b),
        "bleu_signature": str(bleu.get_signature()), "chrf": c.score, "chrf_signature": str(chrf.get_signature()),
    }


def classification(name, classes, predictions, labels):
    present = sorted(set(labels) | set(predictions))

    def scores(average):
        p, r, f, _ = precision_recall_fscore_support(
            labels, predictions, labels=list(range(classes)) if average is None else present, average=average, zero_division=0)
        return [list(map(float, x)) for x in (p, r, f)] if average is None else [float(p), float(r), float(f)]

    return {
        "name": name, "classes": classes, "predictions": predictions, "labels": labels,
        "accuracy": float(accuracy_score(labels, predictions)), "by_class": scores(None), "macro": scores("macro"),
    }


def main():
    translations = [translation(name, *corpus) for name, corpus in CORPORA.items()]
    translations += [translation(f"random {seed}", *random_corpus(seed, n)) for seed, n in ((1, 1), (2, 5), (3, 40))]
    r = random.Random(4)
    classifications = [
        classification("binary", 2, [1, 0, 1, 1, 0, 0, 1, 0], [1, 0, 0, 1, 1, 0, 1, 0]),
        classification("never positive", 2, [0, 0, 0], [1, 0, 1]),
        classification("all right", 3, [0, 1, 2], [0, 1, 2]),
        classification("a class that does not occur", 4, [0, 1, 1, 3], [0, 1, 3, 3]),
        classification("random", 5, [r.randrange(5) for _ in range(60)], [r.randrange(5) for _ in range(60)]),
    ]
    fixtures.save_json("metrics/metrics.json", {"translations": translations, "classifications": classifications})


if __name__ == "__main__":
    main()
