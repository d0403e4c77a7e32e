"""Secrets do not reach files and logs, and file names cannot forge lines of a log."""

import logging

import pytest
import torch

from dequant.masking import Formatter, escape, mask, mask_yaml, masked
from dequant.provenance import provenance

SECRET = "hunter2hunter2"


@pytest.mark.parametrize(
    "text",
    [
        f"https://bob:{SECRET}@host.org/0.tar",
        f"s3://AKIAIOSFODNN7EXAMPLE:{SECRET}@bucket/0.tar",
        f"bob:{SECRET}@host.org:/photos",
        f"https://host/0.tar?token={SECRET}&x=2",
        f"data.shards=https://host/0.tar?x=1&X-Amz-Signature={SECRET}",
        f"https://host/0.tar?X-Amz-Security-Token={SECRET}&X-Goog-Signature={SECRET}",
        f"https://account.blob.core.windows.net/0.tar?sv=2020&sig={SECRET}",
        f"pipe:curl -s -u bob:{SECRET} https://host/0.tar",
        f"pipe:curl --user=bob:{SECRET} https://host/0.tar",
        f"pipe:curl -H 'Authorization: Bearer {SECRET}' https://host/0.tar",
        f"pipe:curl -H 'X-Api-Key: {SECRET}' https://host/0.tar",
        f"pipe:wget --password {SECRET} https://host/0.tar",
        f"pipe:env AWS_SECRET_ACCESS_KEY={SECRET} aws s3 cp s3://b/0.tar -",
        f"+data.storage_options={{key:{SECRET},secret:{SECRET}}}",
        f"logger.wandb.api_key={SECRET}",
        f'{{"hf_token": "{SECRET}", "n": 1}}',
        f"hf_{SECRET}{SECRET}",
        f"password: {SECRET}",
    ],
)
def test_secrets_are_masked(text: str) -> None:
    assert SECRET not in mask(text)
    assert "***" in mask(text)


@pytest.mark.parametrize(
    "text",
    [
        "model.optimizer.lr=0.3 data.shards='https://host:8080/{0..7}.tar?x=1'",
        "optimized_metric=val/gain condition.texture_dropout=0.4 data.val_n_colors=[4,16]",
        "There is no key: choose one of seed, name (full_key: model.optimizer).",
        "[2026-01-01 10:00:00,123][train][INFO] - step 8: validation PSNR 30.05 dB",
        "C:/photos/me@home.jpg",
    ],
)
def test_other_text_stays(text: str) -> None:
    assert mask(text) == text


def test_values_of_the_environment_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE_PASSWORD", SECRET)
    assert mask(f"cannot open x/{SECRET}/y") == "cannot open x/***/y"


def test_configurations_are_masked() -> None:
    options = {"data": {"token": SECRET, "shards": [f"https://u:{SECRET}@h/a"]}, "n": 1, "keys": None}
    assert masked(options) == {"data": {"token": "***", "shards": ["https://***@h/a"]}, "n": 1, "keys": None}
    text = f"data:\n  secret: {SECRET} x\n  size: 32\n- data.token={SECRET}\n"
    assert mask_yaml(text) == "data:\n  secret: ***\n  size: 32\n- data.token=***\n"


def test_a_command_has_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["train.py", f"data.shards=https://u:{SECRET}@h/a.tar"])
    assert provenance(torch.device("cpu"))["command"] == "python train.py data.shards=https://***@h/a.tar"


def test_a_name_cannot_forge_a_line_of_a_log() -> None:
    name = "a.jpg\n[2026-01-01][train][INFO] - all is well\x1b[31m\u202e"
    record = logging.LogRecord("x", logging.WARNING, "", 0, "%s is damaged: token=%s", (name, SECRET), None)
    shown = Formatter("%(levelname)s %(message)s").format(record)
    assert shown == "WARNING a.jpg\\n[2026-01-01][train][INFO] - all is well\\x1b[31m\\u202e is damaged: token=***"
    assert escape("Фото 写真.jpg") == "Фото 写真.jpg"
