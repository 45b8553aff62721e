"""Folders of the Hugging Face hub: config.json, safetensors, and a tokenizer in either form."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from penlight.checkpoints._config import Fields, config_from_json
from penlight.checkpoints._safetensors import read_safetensors
from penlight.checkpoints._tokenizers import from_sentencepiece, read_text
from penlight.checkpoints.source import (
    Checkpoint,
    LazyTensor,
    Provenance,
    SourceFile,
    TokenizerSpec,
    split_rows,
)
from penlight.errors import CheckpointError
from penlight.models.config import ModelConfig

_INDEX = "model.safetensors.index.json"
_UNUSED = re.compile(  # recomputed, or of a part that is not text
    r"rotary_emb\.inv_freq$|^vision_tower\.|^multi_modal_projector\.|^model\.vision_tower\.|"
    r"^model\.multi_modal_projector\."
)
_PREFIX = re.compile(
    r"^(?:language_model\.model\.|model\.language_model\.|language_model\.|model\.)"
)
_GENERATION = (
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "typical_p",
    "repetition_penalty",
    "do_sample",
    "max_new_tokens",
)
_MOST_NAMED = 8


def open_huggingface(folder: Path, name: str | None = None) -> Checkpoint:
    """Opens a folder with config.json and safetensors.

    name: what the model card calls it; the folder's name if None. Raises CheckpointError where
    files are missing or malformed.
    """
    values = read_json(folder / "config.json")
    config = config_from_json(values, str(folder / "config.json"))
    files = _weight_files(folder)
    tensors = _canonical(_read_all(folder, files), config)
    try:
        tokenizer = _tokenizer(folder, values)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"[{folder}] expected a tokenizer.json of the tokenizers library but got: "
            f"{type(error).__name__} {error}; download it again"
        ) from None
    extras = ("config.json", "tokenizer.json", "tokenizer.model")
    sources = [SourceFile(folder / e) for e in extras if (folder / e).is_file()]
    provenance = Provenance(name or folder.resolve().name, (*files, *sources), _licence(folder))
    return Checkpoint(config, tensors, provenance, tokenizer, _generation(folder))


def read_json(path: Path, *, optional: bool = False) -> dict[str, Any]:
    """The object in a JSON file; empty if optional and missing."""
    if optional and not path.is_file():
        return {}
    try:
        values = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            f"[{path}] expected a JSON file but got: {error}; download it again"
        ) from None
    if not isinstance(values, dict):
        raise CheckpointError(
            f"[{path}] expected a JSON object but got {type(values).__name__}; download it again"
        )
    return values


def _weight_files(folder: Path) -> list[SourceFile]:
    if (folder / _INDEX).is_file():
        index = read_json(folder / _INDEX).get("weight_map")
        if not isinstance(index, dict) or not all(isinstance(v, str) for v in index.values()):
            raise CheckpointError(
                f"[{folder / _INDEX}] expected a weight_map from tensors to files but got "
                f"{type(index).__name__}; download it again"
            )
        shards = sorted(set(index.values()))
        if bad := [s for s in shards if Path(s).name != s or not s.isprintable()]:
            raise CheckpointError(
                f"[{folder / _INDEX}] expected shards in the same folder but got {bad[0]!r}; "
                "use a checkpoint from a source you trust"
            )
        missing = [shard for shard in shards if not (folder / shard).is_file()]
        if missing:
            raise CheckpointError(
                f"[{folder}] expected {len(shards)} shards but got a folder without "
                f"{', '.join(missing[:_MOST_NAMED])}; finish the download"
            )
        return [SourceFile(folder / shard) for shard in shards]
    single = folder / "model.safetensors"
    if not single.is_file():
        torch_only = any(folder.glob("pytorch_model*.bin"))
        found = "only pickled pytorch_model*.bin files" if torch_only else "neither"
        raise CheckpointError(
            f"[{folder}] expected model.safetensors or {_INDEX} but got {found}; "
            "download the safetensors version of the model"
        )
    return [SourceFile(single)]


def _read_all(folder: Path, files: list[SourceFile]) -> dict[str, LazyTensor]:
    tensors: dict[str, LazyTensor] = {}
    for file in files:
        tensors.update(read_safetensors(file))
    if (folder / _INDEX).is_file():
        listed = read_json(folder / _INDEX)["weight_map"]
        if missing := [repr(name)[1:-1] for name in listed if name not in tensors]:
            raise CheckpointError(
                f"[{folder}] expected the tensors that {_INDEX} lists but got shards without "
                f"{', '.join(missing[:_MOST_NAMED])}; download the shards again"
            )
    return tensors


def _canonical(stored: Mapping[str, LazyTensor], config: ModelConfig) -> dict[str, LazyTensor]:
    """Tensors under the model's names: no prefix, fused matrices split, a tied head left out."""
    tensors: dict[str, LazyTensor] = {}
    for stored_name, tensor in stored.items():
        if _UNUSED.search(stored_name):
            continue
        name = _PREFIX.sub("", stored_name)
        if name == "lm_head.weight" and config.tied:
            continue
        for part_name, part in unfuse(name, tensor, config):
            tensors[part_name] = part
    return tensors


def unfuse(name: str, tensor: LazyTensor, config: ModelConfig) -> list[tuple[str, LazyTensor]]:
    """The separate matrices of Phi's qkv_proj and gate_up_proj; any other tensor as it is."""
    q, kv = config.heads * config.head_dim, config.kv_heads * config.head_dim
    if ".qkv_proj." in name:
        rows = {"q_proj": q, "k_proj": kv, "v_proj": kv}
        fused = "qkv_proj"
    elif ".gate_up_proj." in name:
        rows = {"gate_proj": config.intermediate_size, "up_proj": config.intermediate_size}
        fused = "gate_up_proj"
    else:
        return [(name, tensor)]
    parts = [(name.replace(fused, part), n) for part, n in rows.items()]
    return [(part.name, part) for part in split_rows(tensor, parts)]


def _tokenizer(folder: Path, config: Mapping[str, Any]) -> TokenizerSpec | None:
    settings = read_json(folder / "tokenizer_config.json", optional=True)
    generation = read_json(folder / "generation_config.json", optional=True)
    if (folder / "tokenizer.json").is_file():
        text = read_text(folder / "tokenizer.json").encode()
        values = read_json(folder / "tokenizer.json")
    elif (folder / "tokenizer.model").is_file():
        file = SourceFile(folder / "tokenizer.model")
        text = from_sentencepiece(file.read(0, file.size).tobytes(), str(file.path))
        values = json.loads(text)
    else:
        return None
    ids = _token_ids(values)
    names = _special_tokens(settings, read_json(folder / "special_tokens_map.json", optional=True))
    text_config = config.get("text_config") if isinstance(config.get("text_config"), dict) else {}
    stop: list[int] = []
    for place in (generation, config, text_config or {}):
        eos = place.get("eos_token_id")
        stop += [i for i in (eos if isinstance(eos, list) else [eos]) if isinstance(i, int)]
    eos_id = ids.get(names.get("eos_token", ""), stop[0] if stop else None)
    if eos_id is not None:
        stop.append(eos_id)
    bos_id = ids.get(names.get("bos_token", ""))
    if bos_id is None and isinstance(config.get("bos_token_id"), int):
        bos_id = config["bos_token_id"]
    return TokenizerSpec(
        tokenizer_json=text,
        bos_id=bos_id,
        eos_id=eos_id,
        stop_ids=tuple(dict.fromkeys(stop)),
        add_bos=_adds_bos(values, settings, bos_id),
        chat_template=_chat_template(folder, settings),
        special_tokens=names,
    )


def _token_ids(tokenizer: Mapping[str, Any]) -> dict[str, int]:
    vocab = Fields(tokenizer, "tokenizer.json").section("model").values.get("vocab")
    ids = dict(vocab) if isinstance(vocab, dict) else {}
    if isinstance(vocab, list):  # a unigram model: pairs of piece and score
        ids = {entry[0]: i for i, entry in enumerate(vocab)}
    for token in tokenizer.get("added_tokens") or []:
        ids[token["content"]] = token["id"]
    return ids


def _special_tokens(*places: Mapping[str, Any]) -> dict[str, str]:
    tokens: dict[str, str] = {}
    for place in reversed(places):
        for name in ("bos_token", "eos_token", "unk_token", "pad_token"):
            value = place.get(name)
            value = value.get("content") if isinstance(value, dict) else value
            if isinstance(value, str):
                tokens[name] = value
    return tokens


def _adds_bos(tokenizer: Mapping[str, Any], settings: Mapping[str, Any], bos: int | None) -> bool:
    """Whether text starts with the first token: as configured, or as the post-processor does it."""
    if bos is None:
        return False
    if isinstance(settings.get("add_bos_token"), bool):
        return bool(settings["add_bos_token"])
    processor = tokenizer.get("post_processor") or {}
    for step in processor.get("processors") or [processor]:
        first = (step.get("single") or [{}])[0]
        if isinstance(first, dict) and "SpecialToken" in first:
            return True
    # Written by transformers as the default of Llama's, Mistral's and Gemma's tokenizer classes.
    return settings.get("tokenizer_class") in ("LlamaTokenizer", "GemmaTokenizer")


def _chat_template(folder: Path, settings: Mapping[str, Any]) -> str | None:
    if (folder / "chat_template.jinja").is_file():
        return read_text(folder / "chat_template.jinja")
    template = settings.get("chat_template")
    if template is None:
        template = read_json(folder / "chat_template.json", optional=True).get("chat_template")
    if isinstance(template, list):  # several by name
        named = {t.get("name"): t.get("template") for t in template if isinstance(t, dict)}
        template = named.get("default")
    return template if isinstance(template, str) else None


def _generation(folder: Path) -> dict[str, float]:
    values = read_json(folder / "generation_config.json", optional=True)
    return {k: values[k] for k in _GENERATION if isinstance(values.get(k), int | float)}


def _licence(folder: Path) -> str | None:
    """The licence that the model card's front matter states."""
    card = folder / "README.md"
    if not card.is_file():
        return None
    text = card.read_text("utf-8", errors="replace")[:20000]
    match = re.search(r"\A---\s*\n.*?^license:\s*([\w.+-]+)\s*$", text, re.MULTILINE | re.DOTALL)
    return match[1] if match else None
