"""Text of an exact length, against real tokenizers of three kinds that are made here."""

from __future__ import annotations

import sys

import pytest

from joulemark.agents.models.checkpoint import write_checkpoint
from joulemark.agents.models.tokenizer import CORPUS, project_tokenizer
from joulemark.warehouse.errors import BadInput, MissingTool
from joulemark.workloads.models.generated import generated_config
from joulemark.workloads.traffic.draws import Seeds
from joulemark.workloads.traffic.make import files_of, make_traffic
from joulemark.workloads.traffic.tables import Tables, digest_of
from joulemark.workloads.traffic.text import ExactText, load_tokenizer
from joulemark.workloads.workload import Length, Workload

LENGTHS = (1, 2, 3, 10, 97, 1024)


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingTool, match="pip install tokenizers"):
        load_tokenizer(b"{}")


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory):
    """The tokenizer of the generated models, as an engine loads it."""
    pytest.importorskip("tokenizers", reason="the library tokenizers is not installed")
    folder = tmp_path_factory.mktemp("model")
    config = {**generated_config("tiny-dense"), "num_hidden_layers": 1, "hidden_size": 64, "intermediate_size": 64}
    write_checkpoint(folder / "m", config, project_tokenizer(config["vocab_size"]), "bf16")
    return load_tokenizer((folder / "m" / "tokenizer.json").read_bytes())


@pytest.fixture(scope="module", params=["byte-level", "metaspace", "wordpiece"])
def tokenizer(request, byte_level):
    if request.param == "byte-level":
        return byte_level
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    lines = CORPUS.read_text(encoding="ascii").lower().splitlines()
    if request.param == "metaspace":
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.Metaspace()
        made.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=2000, special_tokens=["<s>"]))
        made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
        return made
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.train_from_iterator(lines, trainers.WordPieceTrainer(vocab_size=2000, special_tokens=["[UNK]", "[CLS]"]))
    return made


@pytest.mark.parametrize("special", [True, False])
def test_texts_have_exactly_the_length_that_is_asked_for(tokenizer, special):
    texts = ExactText(tokenizer, special_tokens=special)
    added = len(tokenizer.encode("", add_special_tokens=special).ids)
    for tokens in (n + added for n in LENGTHS):
        for index in range(20):
            text = texts.text(tokens, Seeds(1, 2), index)
            assert len(tokenizer.encode(text, add_special_tokens=special).ids) == tokens


def test_texts_are_reproducible_and_all_different(tokenizer):
    one, other = ExactText(tokenizer), ExactText(tokenizer)
    texts = [one.text(64, Seeds(1, 2), index) for index in range(200)]
    assert len(set(texts)) == 200
    assert [other.text(64, Seeds(1, 2), index) for index in reversed(range(200))][::-1] == texts
    assert ExactText(tokenizer).text(64, Seeds(1, 3), 0) != texts[0]


def test_what_cannot_be_made_is_said(byte_level):
    with pytest.raises(BadInput, match="no text of exactly 0 tokens"):
        ExactText(byte_level).text(0, Seeds(1, 2), 0)


def test_a_file_that_is_no_tokenizer_is_said(byte_level):
    with pytest.raises(BadInput, match=r"is no tokenizer\.json"):
        load_tokenizer(b"{}")


def test_a_workload_with_a_tokenizer_has_texts(byte_level):
    """The lengths are those that token ids would have; a search gets other texts."""
    data = byte_level.to_str().encode()
    name = digest_of(data)
    lengths = Length("uniform", 20, 60)
    texts, ids = (
        make_traffic(Workload(lengths, 5, 2, seed=3, tokenizer=t), prompt_seed=4, vocab_size=99, tables=tables)
        for t, tables in ((name, Tables({name: data})), (None, Tables()))
    )
    requests = [texts.request(n) for n in range(200)]
    assert [r.input_tokens for r in requests] == [ids.request(n).input_tokens for n in range(200)]
    assert [len(byte_level.encode(r.prompt).ids) for r in requests] == [r.input_tokens for r in requests]
    searched = [texts.saturating().request(n).prompt for n in range(200)]
    assert len({r.prompt for r in requests} | set(searched)) == 400
    assert files_of(Workload(lengths, 5, 2, tokenizer=name)) == {name}
