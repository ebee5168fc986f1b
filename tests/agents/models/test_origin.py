"""Licence, commit and digest of weights on a node."""

from joulemark.agents.models.origin import EDGE_BYTES, origin
from joulemark.workloads.cell import ModelRef

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def model(location, revision=None, source="path"):
    return ModelRef("m", source, str(location), revision)


def folder_with(folder, weights=b"weights", card="---\nlicense: mit\ntags: [a]\n---\n# A model\n"):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    if card is not None:
        (folder / "README.md").write_text(card)
    return folder


def test_a_folder_is_known_by_its_weights_and_tells_its_licence(tmp_path):
    one, same = folder_with(tmp_path / "one"), folder_with(tmp_path / "two", card=None)
    other = folder_with(tmp_path / "three", b"Weights")
    found = origin(model(one), str(one))
    assert found["licence"] == "mit"
    assert "commit" not in found
    assert origin(model(same), str(same)) == {"digest": found["digest"]}
    assert origin(model(other), str(other))["digest"] != found["digest"]


def test_begin_end_and_size_of_large_files_count(tmp_path):
    large = bytearray(3 * EDGE_BYTES)
    digests = set()
    for number, place in enumerate((0, len(large) - 1)):
        changed = bytes(large[:place] + b"x" + large[place + 1 :])
        folder = folder_with(tmp_path / str(number), changed)
        digests.add(origin(model(folder), str(folder))["digest"])
    folder = folder_with(tmp_path / "longer", bytes(large) + b"\0")
    digests.add(origin(model(folder), str(folder))["digest"])
    assert len(digests) == 3


def test_a_model_of_the_hub_tells_its_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    cache = tmp_path / "models--org--name"
    folder_with(cache / "snapshots" / COMMIT, card="---\nlicense: other\nlicense_name: its-own\n---\n")
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text(COMMIT)
    found = origin(model("org/name", source="hub"), "org/name")
    assert (found["commit"], found["licence"]) == (COMMIT, "its-own")
    assert origin(model("org/name", COMMIT, "hub"), "org/name") == found
    assert origin(model("org/other", source="hub"), "org/other") == {}


def test_cards_that_say_nothing(tmp_path):
    for number, card in enumerate(
        ("", "# no front", "---\n: [\n---\n", "---\n- list\n---\n", "---\nlicense: [a]\n---\n")
    ):
        folder = folder_with(tmp_path / str(number), card=card)
        assert "licence" not in origin(model(folder), str(folder))


def test_a_file_is_known_by_any_name(tmp_path):
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    one, two = (origin(model(tmp_path / n), str(tmp_path / n)) for n in ("a.gguf", "b.gguf"))
    assert one == two
    assert one["digest"]
