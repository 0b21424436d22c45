"""Makes the WordPiece vocabulary of the synthetic reports.

    python -m examples.chest_studies.vocabulary

Pieces that occur equally often are taken in another order by each run, so that another run gives a vocabulary of the
same kind. Weights belong to the one that they were trained with.
"""

import argparse
from pathlib import Path

from mmcaf_engine.demo import chest_patient
from mmcaf_engine.demo.report import chest_report

MARKERS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = 360
SEEDS = range(4000)


def main() -> None:
    """Learn the pieces from the training reports and write vocabulary.txt."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.trainers import WordPieceTrainer

    tokenizer = Tokenizer(WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    trainer = WordPieceTrainer(vocab_size=PIECES, special_tokens=MARKERS, show_progress=False)
    texts = [chest_report(chest_patient(seed)).text.replace("XXXX", " ") for seed in SEEDS]
    tokenizer.train_from_iterator(texts, trainer)
    numbers = tokenizer.get_vocab()
    pieces = sorted(numbers, key=lambda piece: numbers[piece])
    file = Path(__file__).parent / "vocabulary.txt"
    file.write_text("\n".join(pieces) + "\n", encoding="utf-8")
    lengths = sorted(len(tokenizer.encode(text).ids) for text in texts)
    print(f"{file}: {len(pieces)} pieces; reports of {lengths[len(lengths) // 2]} pieces, at most {lengths[-1]}")


if __name__ == "__main__":
    main()
