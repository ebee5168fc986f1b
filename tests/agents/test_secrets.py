"""What is secret, and what is left of a text without it."""

import pytest

from joulemark.agents.secrets import Secrets, is_secret


@pytest.mark.parametrize(
    "name",
    ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "OPENAI_API_KEY", "VLLM_API_KEY", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD"],
)
def test_names_of_secrets(name):
    assert is_secret(name)


@pytest.mark.parametrize(
    "name", ["TOKENIZERS_PARALLELISM", "MAX_TOKENS", "max_num_batched_tokens", "KEYBOARD", "SSH_AUTH_SOCK", "HF_HOME"]
)
def test_names_of_other_things(name):
    assert not is_secret(name)


def test_values_are_struck_out_the_longest_first(tmp_path):
    environment = {
        "HF_TOKEN": "abcdef-123",
        "X_API_KEY": "abcdef-123-and-more",
        "PATH": "/bin",
        "HF_HOME": str(tmp_path),
    }
    secrets = Secrets.here("given-here", None, environment=environment)
    text = secrets.hide("abcdef-123-and-more abcdef-123 given-here /bin")
    assert text == "(hidden) (hidden) (hidden) /bin"


def test_what_is_too_short_to_be_a_secret_stays(tmp_path):
    secrets = Secrets.here(environment={"HF_TOKEN": "none", "HF_HOME": str(tmp_path)})
    assert secrets.hide("there is none") == "there is none"


def test_the_hubs_token_file_is_known(tmp_path):
    (tmp_path / "token").write_text("from-the-login\n")
    assert Secrets.here(environment={"HF_HOME": str(tmp_path)}).hide("is from-the-login") == "is (hidden)"
    elsewhere = {"HF_HOME": "/nowhere", "HF_TOKEN_PATH": str(tmp_path / "token")}
    assert Secrets.here(environment=elsewhere).hide("is from-the-login") == "is (hidden)"


def test_tokens_are_known_by_their_form(tmp_path):
    secrets = Secrets.here(environment={"HF_HOME": str(tmp_path)})
    hub, cloud = "hf_" + "aB3" * 9, "sk-" + "proj-" + "x1" * 12
    assert secrets.hide(f"token={hub}; {cloud}; Authorization: Bearer 0123456789ab") == (
        "token=(hidden); (hidden); Authorization: Bearer (hidden)"
    )
    assert secrets.hide("half_precision sk-learn Bearer of news") == "half_precision sk-learn Bearer of news"


def test_documents_lose_them_wherever_they_stand(tmp_path):
    secrets = Secrets.here(environment={"HF_TOKEN": "abcdef-123", "HF_HOME": str(tmp_path)})
    document = {
        "args": ["--x", "abcdef-123"],
        "api_key": "whatever",
        "n": 3,
        "max_tokens": 7,
        "deep": [{"t": "abcdef-123!"}],
    }
    assert secrets.hide_in(document) == {
        "args": ["--x", "(hidden)"],
        "api_key": "(hidden)",
        "n": 3,
        "max_tokens": 7,
        "deep": [{"t": "(hidden)!"}],
    }
    assert secrets.hide_in(("abcdef-123", "b")) == ("(hidden)", "b")
