"""Chat templates render as the field expects, and a hostile one can do no harm."""

from __future__ import annotations

import tracemalloc

import pytest

from penlight.llm import ChatTemplate, TemplateError

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi & <bye>"},
]
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def test_chatml_renders_every_message_and_the_generation_prompt() -> None:
    assert ChatTemplate(CHATML).render(CHAT) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nHi & <bye><|im_end|>\n<|im_start|>assistant\n"
    )


def test_generation_prompt_is_left_out_on_request() -> None:
    assert ChatTemplate(CHATML).render(CHAT, add_generation_prompt=False).endswith("<|im_end|>\n")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ bos_token }}{{ messages[0].role | upper }}", "<s>SYSTEM"),
        ("{%- for m in messages -%}{% if loop.last %}{% break %}{% endif %}x{% endfor %}", "x"),
        ("{% generation %}said{% endgeneration %}", "said"),
        ("{{ messages[1] | tojson }}", '{"role": "user", "content": "Hi & <bye>"}'),
        ("{% set ns = namespace(n=0) %}{% set ns.n = 3 %}{{ ns.n }}", "3"),
        ("{{ 'a-b'.split('-') | join('+') }}{{ 'abc'.replace('b', '_') }}", "a+ba_c"),
        ("{{ ', '.join(['x', 'y']) ~ 1 }}{{ 'aa' | replace('a', 'b', 1) }}", "x, y1ba"),
        ("{{ (2 ** 3) * 2 + 1 }}{{ 7 % 4 }}{{ 'ab' * 2 }}", "173abab"),
        ("{{ strftime_now('%Y') | length }}", "4"),
        ("{{ tools is defined }}{{ enable_thinking }}", "FalseTrue"),
    ],
)
def test_what_templates_of_checkpoints_use_is_there(template: str, expected: str) -> None:
    made = ChatTemplate(template, {"bos_token": "<s>"})
    assert made.render(CHAT, enable_thinking=True) == expected


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ messages.append(1) }}",
        "{% include 'x' %}",
        "{{ raise_exception('roles must alternate') }}",
        "{{ undefined_name.attribute }}",
        "{{ 'a' * 10000000000 }}",
        "{{ [1] * 10000000000 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ '%1000000000d' % 3 }}",
        "{{ 'a'.center(10000000000) }}",
        "{{ '{:1000000000}'.format(1) }}",
        "{{ range(99999) | join('b' * 4000000) }}",
        "{{ ('b' * 4000000).join(['', '', '']) }}",
        "{{ 'aaaa' | replace('a', 'b' * 4000000) }}",
        "{{ ('a' * 99).replace('a', 'b' * 400000) }}",
        "{% set n = namespace(x='a') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}"
        "{% endfor %}",
        "{% set n = namespace(x='a') %}{% for i in range(99) %}{% set n.x = n.x + n.x %}"
        "{% endfor %}",
        "{% for i in range(99999) %}{{ 'a' * 1000 }}{% endfor %}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{{ range(10000000000) | list }}",
        "{{ messages | tojson(indent=1000000000) }}",
    ],
)
def test_a_hostile_template_ends_in_one_error_before_it_takes_memory(template: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(TemplateError, match=r"^\[chat template\] "):
            ChatTemplate(template).render(CHAT)
        assert tracemalloc.get_traced_memory()[1] < 1 << 28
    finally:
        tracemalloc.stop()


def test_a_template_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penlight.llm.template.MAX_SECONDS", 0.2)
    loop = "{% for a in range(99999) %}" * 3 + "{% endfor %}" * 3
    with pytest.raises(TemplateError, match="expected to end within"):
        ChatTemplate(loop).render(CHAT)


@pytest.mark.parametrize("template", ["{% if %}", "{{", "{% unknown %}", "x" * ((1 << 20) + 1)])
def test_what_is_no_template_is_refused(template: str) -> None:
    with pytest.raises(TemplateError, match=r"^\[chat template\] expected "):
        ChatTemplate(template)
