"""An agent that talks, uses tools, and asks a person before it spends money.

A message is answered by one job, `turn`, in the session of who has written it: the session's stored state is
the conversation. What has effects is a job of its own that `turn` calls, for `turn` is run again from its
beginning whenever it has waited for somebody.
"""

from __future__ import annotations

import hashlib
import re

import msgspec
import trio

from am2z_trio import Context, processor


class Line(msgspec.Struct, frozen=True):
    who: str
    text: str


class Talk(msgspec.Struct, frozen=True):
    lines: list[Line] = []


class Thought(msgspec.Struct, frozen=True):
    """What the model makes of a message."""

    message: str
    turn: str
    """The job that has to decide."""
    reply: str = ""
    order: str = ""
    amount: int = 0
    """Euros to be paid back; 0: nothing is asked for."""


class Decision(msgspec.Struct, frozen=True):
    """What a person says: the value of the signal `decision`."""

    yes: bool
    by: str = "nobody"


class Payment(msgspec.Struct, frozen=True):
    order: str
    amount: int
    receipt: str = ""


PATIENCE = 24 * 3600.0
"""Seconds in which a person may decide."""


@processor(timeout=60)
async def turn(talk: Talk, ctx: Context) -> Talk:
    """Answer the next message of the session."""
    message = await ctx.wait_for("message", str)
    thought = await ctx.call(think, Thought(message, ctx.execution_id), key="think")
    reply = thought.reply
    if thought.amount:
        await ctx.call(ask, thought, key="ask")
        # Parked: for a second or a day, with no task and no place, on no node.
        decision = await ctx.wait_for("decision", Decision, timeout=PATIENCE, default=Decision(yes=False))
        if decision.yes:
            paid = await ctx.call(pay, Payment(thought.order, thought.amount), key="pay")
            reply = f"Done: {paid.amount} euros for order {paid.order}, receipt {paid.receipt}."
        else:
            reply = f"I am sorry: {decision.by} has not agreed to pay for order {thought.order}."
    await ctx.call(say, reply, key="say")
    return Talk([*talk.lines, Line("you", message), Line("agent", reply)])


@processor(timeout=30)
async def think(thought: Thought, ctx: Context) -> Thought:
    """Where a language model is asked. This one knows two things, and takes its time."""
    for step in range(1, 4):
        await trio.sleep(0.02)
        await ctx.update_progress(step / 3)
    wants = re.search(r"refund .*?order (\w+)", thought.message, re.IGNORECASE)
    if wants is None:
        reply = f"You have said {len(thought.message.split())} words. Ask me for a refund of an order."
        return msgspec.structs.replace(thought, reply=reply)
    return msgspec.structs.replace(thought, order=wants[1], amount=50)


@processor
async def ask(thought: Thought, ctx: Context) -> Thought:
    """Tell people that somebody has to decide. Once: it is a job of its own."""
    ctx.emit("agent:asks", {"job": thought.turn, "order": thought.order, "amount": thought.amount})
    return thought


@processor
async def pay(payment: Payment, ctx: Context) -> Payment:
    """The tool that costs money: a bank drops a request that it knows by this key."""
    receipt = hashlib.sha256(ctx.idempotency_key.encode()).hexdigest()[:8]
    return msgspec.structs.replace(payment, receipt=receipt)


@processor
async def say(reply: str, ctx: Context) -> str:
    """Stream an answer, word by word."""
    for word in reply.split():
        ctx.emit("agent:word", word)
        await trio.sleep(0.005)
    ctx.emit("agent:end", None)
    return reply
