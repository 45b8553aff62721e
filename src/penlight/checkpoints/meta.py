"""Folders in Meta's own form: consolidated.*.pth, params.json and tokenizer.model.

Large models come in shards of tensor parallelism: each file has a part of every matrix, cut along
its rows or its columns, and a copy of every norm. Only the files' indices are unpickled, by torch
with ``weights_only``, onto the meta device; values are read from the places that it reports.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from penlight.checkpoints._config import Fields
from penlight.checkpoints._tokenizers import LLAMA3, from_sentencepiece, from_tiktoken
from penlight.checkpoints.huggingface import read_json
from penlight.checkpoints.source import (
    Checkpoint,
    ConcatTensor,
    FileTensor,
    LazyTensor,
    Provenance,
    RowsTensor,
    SourceFile,
    TokenizerSpec,
    interleaved_to_halves,
)
from penlight.errors import CheckpointError
from penlight.models.config import ModelConfig, RopeConfig

_NAMES = {
    "tok_embeddings": "embed_tokens",
    "norm": "norm",
    "output": "lm_head",
    "attention.wq": "self_attn.q_proj",
    "attention.wk": "self_attn.k_proj",
    "attention.wv": "self_attn.v_proj",
    "attention.wo": "self_attn.o_proj",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w3": "mlp.up_proj",
    "feed_forward.w2": "mlp.down_proj",
    "attention_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
_CUT_ALONG_COLUMNS = ("self_attn.o_proj", "mlp.down_proj")
_NORMS = ("norm", "input_layernorm", "post_attention_layernorm")
_COMPARED_ROWS = 4096

# params.json says whether a model has a scaled rope, but of what factor only in later files. These
# are the layers of the models released with 32; all others have 8.
_FACTOR_32 = ((2048, 16), (3072, 28))
_LLAMA3_SPECIAL = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|reserved_special_token_0|>",
    "<|reserved_special_token_1|>",
    "<|finetune_right_pad_id|>",
    "<|reserved_special_token_2|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eom_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
)
_LLAMA3_SPECIAL_COUNT = 256
_LLAMA3_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "<|start_header_id|>{{ message['role'] }}<|end_header_id|>\n\n"
    "{{ message['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
_LLAMA2_TEMPLATE = (
    "{% set ns = namespace(system='') %}{% for message in messages %}"
    "{% if message['role'] == 'system' %}"
    "{% set ns.system = '<<SYS>>\n' + message['content'] + '\n<</SYS>>\n\n' %}"
    "{% elif message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + ns.system + message['content'] | trim + ' [/INST]' }}"
    "{% set ns.system = '' %}"
    "{% else %}{{ ' ' + message['content'] | trim + ' ' + eos_token }}{% endif %}{% endfor %}"
)


def open_meta(folder: Path, name: str | None = None) -> Checkpoint:
    """Opens a folder with consolidated.*.pth. name: what the model card calls it."""
    shards = sorted(folder.glob("consolidated.*.pth"))
    numbers = [re.fullmatch(r"consolidated\.(\d+)\.pth", shard.name) for shard in shards]
    if not shards or [int(n[1]) if n else -1 for n in numbers] != list(range(len(shards))):
        raise CheckpointError(
            f"[{folder}] expected consolidated.00.pth and all that follow it but got "
            f"{', '.join(s.name for s in shards) or 'none'}; finish the download"
        )
    files = [SourceFile(shard) for shard in shards]
    params = Fields(read_json(folder / "params.json"), str(folder / "params.json"))
    tensors = _join([_index(file) for file in files], params)
    config = _config(params, tensors)
    for part, heads in (("q_proj", config.heads), ("k_proj", config.kv_heads)):
        for i in range(config.layers):
            key = f"layers.{i}.self_attn.{part}.weight"
            stored = tensors.get(key)
            if stored is not None and stored.rows == heads * config.head_dim:
                tensors[key] = RowsTensor(key, stored, interleaved_to_halves(stored.rows, heads))
    if config.tied:
        tensors.pop("lm_head.weight", None)
    extra = [folder / "params.json", folder / "tokenizer.model"]
    sources = (*files, *(SourceFile(path) for path in extra if path.is_file()))
    title = name or folder.resolve().name
    tokenizer = _tokenizer(folder, title, scaled=config.rope.kind == "llama3")
    return Checkpoint(config, tensors, Provenance(title, sources), tokenizer)


def _index(file: SourceFile) -> dict[str, FileTensor]:
    """The tensors of one shard, still under Meta's names."""
    import torch

    if file.read(0, min(4, file.size)).tobytes() != b"PK\3\4":
        raise CheckpointError(
            f"[{file.path}] expected a file of torch.save but got another format; "
            "it is truncated or corrupt: download it again"
        )
    try:
        stored = torch.load(file.path, map_location="meta", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"[{file.path}] expected a file of tensors alone but got one with other objects, "
            "which may run code when loaded; use a file from a source you trust"
        ) from None
    except Exception as error:  # torch reports damage by many types
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"[{file.path}] expected a sound file of torch.save but got: {reason[:120]}; "
            "it is truncated or corrupt: download it again"
        ) from None
    if not isinstance(stored, dict):
        raise CheckpointError(
            f"[{file.path}] expected a dictionary of tensors but got {type(stored).__name__}; "
            "use the file as Meta released it"
        )
    dtypes = {
        torch.float32: "float32",
        torch.float16: "float16",
        torch.bfloat16: "bfloat16",
        torch.float64: "float64",
    }
    tensors = {}
    for name, tensor in stored.items():
        if name == "rope.freqs":
            continue
        offset = getattr(
            tensor.untyped_storage() if isinstance(tensor, torch.Tensor) else None,
            "_checkpoint_offset",
            None,
        )
        if offset is None or tensor.dtype not in dtypes or not tensor.is_contiguous():
            raise CheckpointError(
                f"[{file.path}, {name}] expected a contiguous float tensor but got "
                f"{getattr(tensor, 'dtype', type(tensor).__name__)}; "
                "use the file as Meta released it"
            )
        start = offset + tensor.storage_offset() * tensor.element_size()
        tensors[name] = FileTensor(name, tuple(tensor.shape), dtypes[tensor.dtype], file, start)
    return tensors


def _join(shards: Sequence[Mapping[str, FileTensor]], params: Fields) -> dict[str, LazyTensor]:
    """Whole tensors under the model's names."""
    names = set(shards[0])
    for i, shard in enumerate(shards):
        if differ := sorted(names.symmetric_difference(shard)):
            raise CheckpointError(
                f"[consolidated.{i:02}.pth] expected the same tensors as the first shard has but "
                f"they differ in {', '.join(differ[:8])}; check that all shards are of one model"
            )
    tensors: dict[str, LazyTensor] = {}
    for stored in shards[0]:
        match = re.fullmatch(r"(layers\.\d+\.)?([\w.]+)\.weight", stored)
        if not match or match[2] not in _NAMES:
            raise CheckpointError(
                f"[consolidated.00.pth] expected tensors of a Llama model but got {stored!r}; "
                "use a checkpoint of a text model"
            )
        part = _NAMES[match[2]]
        name = f"{match[1] or ''}{part}.weight"
        pieces = [shard[stored] for shard in shards]
        tensors[name] = pieces[0]
        if len(pieces) > 1 and part not in _NORMS:
            tensors[name] = _concat(name, pieces, _axis(part, pieces, params))
    return tensors


def _axis(part: str, pieces: Sequence[LazyTensor], params: Fields) -> int:
    """Along which axis a matrix was cut. The embedding: columns in Llama 2, rows in Llama 3."""
    if part == "embed_tokens":
        return 0 if pieces[0].shape[-1] == params.size("dim") else 1
    return 1 if part in _CUT_ALONG_COLUMNS else 0


def _concat(name: str, pieces: Sequence[LazyTensor], axis: int) -> LazyTensor:
    first = pieces[0]
    for piece in pieces[1:]:
        fits = len(piece.shape) == 2 and piece.shape[1 - axis] == first.shape[1 - axis]
        if not fits or piece.dtype != first.dtype:
            raise CheckpointError(
                f"[{name}] expected parts of one matrix but got {list(first.shape)} {first.dtype} "
                f"and {list(piece.shape)} {piece.dtype}; check that all shards are of one model"
            )
    return ConcatTensor(name, pieces, axis)


def _config(params: Fields, tensors: Mapping[str, LazyTensor]) -> ModelConfig:
    for needed in ("embed_tokens.weight", "layers.0.mlp.gate_proj.weight"):
        if needed not in tensors:
            raise CheckpointError(
                f"[consolidated.00.pth] expected {needed} of a Llama model but got none; "
                "use a checkpoint of a text model"
            )
    hidden, layers, heads = params.size("dim"), params.size("n_layers"), params.size("n_heads")
    head_dim = params.size("head_dim", hidden // max(heads, 1))
    scaled, theta = params.flag("use_scaled_rope"), params.number("rope_theta", 10000.0)
    factor = params.number("rope_scaling_factor", params.number("rope_scale_factor", 0.0))
    rope = RopeConfig(theta=theta, dims=head_dim)
    if scaled:
        rope = RopeConfig(
            theta=theta,
            dims=head_dim,
            kind="llama3",
            factor=factor or (32.0 if (hidden, layers) in _FACTOR_32 else 8.0),
            low_freq_factor=1.0,
            high_freq_factor=params.number("rope_high_freq_factor", 4.0),
            original_context=8192,
        )
    # params.json does not state the context: 4096 in Llama 2, 8192 in 3, 131072 from 3.1 on.
    context = 131072 if scaled else 8192 if theta > 10000 else 4096
    return ModelConfig(
        architecture="llama",
        vocab_size=tensors["embed_tokens.weight"].rows,
        hidden_size=hidden,
        intermediate_size=tensors["layers.0.mlp.gate_proj.weight"].rows,
        layers=layers,
        heads=heads,
        kv_heads=params.size("n_kv_heads", heads),
        head_dim=head_dim,
        norm_eps=params.number("norm_eps", 1e-5),
        context_length=params.size("max_seq_len", context),
        rope=rope,
        tied=_is_tied(tensors),
    )


def _is_tied(tensors: Mapping[str, LazyTensor]) -> bool:
    """Whether the head is absent or the same as the embedding, which no field states."""
    embedding, head = tensors["embed_tokens.weight"], tensors.get("lm_head.weight")
    if head is None:
        return True
    if head.shape != embedding.shape or head.dtype != embedding.dtype:
        return False
    for first in range(0, head.rows, _COMPARED_ROWS):
        last = min(first + _COMPARED_ROWS, head.rows)
        if (head.raw_rows(first, last) != embedding.raw_rows(first, last)).any():
            return False
    return True


def _tokenizer(folder: Path, name: str, *, scaled: bool) -> TokenizerSpec | None:
    path = folder / "tokenizer.model"
    if not path.is_file():
        return None
    file = SourceFile(path)
    content = file.read(0, file.size).tobytes()
    chats = re.search("instruct|chat", name, re.IGNORECASE) is not None
    if re.match(rb"[A-Za-z0-9+/=]+ \d+\s", content):
        special = _llama3_special(scaled)
        text = from_tiktoken(content, special, LLAMA3, str(path))
        base = len(content.splitlines())
        ids = {token: base + i for i, token in enumerate(special)}
        bos, eos = "<|begin_of_text|>", "<|eot_id|>" if chats else "<|end_of_text|>"
        ends = ("<|eot_id|>", "<|end_of_text|>", "<|eom_id|>")
        stops = tuple(ids[token] for token in ends if token in ids)
        template = _LLAMA3_TEMPLATE
        bos_id, eos_id = ids[bos], ids[eos]
    else:
        text = from_sentencepiece(content, str(path))
        bos, eos, bos_id, eos_id = "<s>", "</s>", 1, 2
        stops, template = (2,), _LLAMA2_TEMPLATE
    return TokenizerSpec(
        tokenizer_json=text,
        bos_id=bos_id,
        eos_id=eos_id,
        stop_ids=stops,
        add_bos=True,
        chat_template=template if chats else None,
        special_tokens={"bos_token": bos, "eos_token": eos},
    )


def _llama3_special(scaled: bool) -> list[str]:
    """The 256 special tokens; before 3.1, fewer had names of their own."""
    unnamed = () if scaled else ("<|finetune_right_pad_id|>", "<|eom_id|>", "<|python_tag|>")
    tokens: list[str] = []
    reserved = 0
    for i in range(_LLAMA3_SPECIAL_COUNT):
        given = _LLAMA3_SPECIAL[i] if i < len(_LLAMA3_SPECIAL) else ""
        if not given or "reserved" in given or given in unnamed:
            given, reserved = f"<|reserved_special_token_{reserved}|>", reserved + 1
        tokens.append(given)
    return tokens
