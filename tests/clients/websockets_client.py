"""The Python package websockets against echo, broadcast, chat, client and deflate_peer."""

import asyncio
import contextlib
import functools
import itertools
import json
import os
import pathlib
import random
import re
import sys
import time
import unittest

from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.extensions.permessage_deflate import (
    ClientPerMessageDeflateFactory,
    ServerPerMessageDeflateFactory,
)

EXAMPLES = pathlib.Path(
    os.environ.get("WSROOM_EXAMPLES")
    or pathlib.Path(__file__).parents[2] / "target" / "release" / "examples"
)
LIMIT = 1 << 20  # bytes in a message, the default of the library


class Program:
    """A running example and the lines it has printed."""

    def __init__(self, process):
        self.process = process
        self.lines = []

    async def line(self, pattern):
        """Reads on until a line matches."""
        while line := await self.process.stdout.readline():
            self.lines.append(line.decode().rstrip("\n"))
            if re.search(pattern, self.lines[-1]):
                return self.lines[-1]
        raise AssertionError(f"the program ended without {pattern}: {self.lines}")

    async def end(self):
        """Reads until the program ends and returns all it said, and its exit code."""
        async for line in self.process.stdout:
            self.lines.append(line.decode().rstrip("\n"))
        return "\n".join(self.lines), await self.process.wait()

    def send(self, line):
        self.process.stdin.write(line.encode() + b"\n")


@contextlib.asynccontextmanager
async def run(example, *args):
    process = await asyncio.create_subprocess_exec(
        EXAMPLES / example,
        *args,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield Program(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


@contextlib.asynccontextmanager
async def server(example, *args):
    """Starts a server example on a free port and gives its base URL."""
    async with run(example, *(args or ("0",))) as program:
        line = await program.line(r"127\.0\.0\.1:\d+")
        yield "ws://" + re.search(r"127\.0\.0\.1:\d+", line).group()


class Bounded(unittest.IsolatedAsyncioTestCase):
    """Ends a test that hangs."""

    def __init_subclass__(cls):
        for name in [name for name in vars(cls) if name.startswith("test_")]:
            setattr(cls, name, bounded(getattr(cls, name)))


def bounded(test):
    @functools.wraps(test)
    async def in_time(self):
        async with asyncio.timeout(30):
            await test(self)

    return in_time


class Echo(Bounded):
    async def test_text_and_binary_of_every_length_form_come_back(self):
        async with server("echo") as url, connect(url) as socket:
            for size in (0, 1, 125, 126, 127, 65535, 65536, LIMIT - 1, LIMIT):
                for message in ("x" * size, os.urandom(size)):
                    await socket.send(message)
                    self.assertTrue(await socket.recv() == message, f"{size} bytes")

    async def test_fragments_come_back_as_one_message(self):
        async with server("echo") as url, connect(url) as socket:
            await socket.send(["in ", "", "drei ", "Stücken ", "😀"])
            self.assertEqual(await socket.recv(), "in drei Stücken 😀")
            await socket.send([b"\x00", b"\xff" * 70_000, b"\x01"])
            self.assertEqual(await socket.recv(), b"\x00" + b"\xff" * 70_000 + b"\x01")

    async def test_a_ping_is_answered_and_gives_a_latency(self):
        async with server("echo") as url, connect(url) as socket:
            for payload in ("", "x", b"\xff" * 125):
                latency = await (await socket.ping(payload))
                self.assertLess(latency, 5)

    async def test_a_ping_in_the_middle_of_a_message_is_answered(self):
        async with server("echo") as url, connect(url) as socket:

            async def pieces():
                yield "a"
                await (await socket.ping("between"))
                yield "b"

            await socket.send(pieces())
            self.assertEqual(await socket.recv(), "ab")

    async def test_a_close_is_answered_with_its_code_alone(self):
        for code, reason in ((1000, ""), (1001, "going"), (3999, "ü" * 61), (4000, "x")):
            async with server("echo") as url, connect(url) as socket:
                await socket.close(code, reason)
                self.assertEqual((socket.close_code, socket.close_reason), (code, ""))
                self.assertFalse(socket.protocol.close_rcvd_then_sent)

    async def test_a_message_over_the_limit_is_refused_with_1009(self):
        async with server("echo") as url, connect(url) as socket:
            with self.assertRaises(ConnectionClosedError) as closed:
                await socket.send(b"x" * (LIMIT + 1))
                await socket.recv()
            self.assertEqual(closed.exception.rcvd.code, 1009)

    async def test_permessage_deflate_is_offered_and_declined(self):
        async with server("echo") as url, connect(url, compression="deflate") as socket:
            self.assertIn(
                "permessage-deflate", socket.request.headers["Sec-WebSocket-Extensions"]
            )
            self.assertNotIn("Sec-WebSocket-Extensions", socket.response.headers)
            await socket.send("plain")
            self.assertEqual(await socket.recv(), "plain")

    async def test_fifty_clients_at_once_get_their_own_messages(self):
        async with server("echo") as url:

            async def talk(client):
                async with connect(url) as socket:
                    for n in range(50):
                        await socket.send(f"{client} {n}")
                    for n in range(50):
                        self.assertEqual(await socket.recv(), f"{client} {n}")

            await asyncio.gather(*map(talk, range(50)))


class Broadcast(Bounded):
    async def test_a_message_reaches_all_others_in_order(self):
        async with server("broadcast") as url, contextlib.AsyncExitStack() as stack:
            speaker, *others = [
                await stack.enter_async_context(connect(url)) for _ in range(10)
            ]
            # An upgraded connection may not be in the room yet.
            hearing = asyncio.gather(*(other.recv() for other in others))
            while not hearing.done():
                await speaker.send("hello")
                await (await speaker.ping())
            for n in range(100):
                await speaker.send(str(n))
                await (await speaker.ping())
            for other in others:
                while (message := await other.recv()) == "hello":
                    pass
                self.assertEqual(message, "0")
                for n in range(1, 100):
                    self.assertEqual(await other.recv(), str(n))
            with self.assertRaises(TimeoutError):
                await asyncio.wait_for(speaker.recv(), 0.2)


class Chat(Bounded):
    async def test_members_see_each_other_come_talk_and_go(self):
        async with server("chat") as url, connect(f"{url}/ws/py?name=Ada") as ada:
            welcome = json.loads(await ada.recv())
            self.assertEqual((welcome["type"], welcome["room"]), ("welcome", "py"))
            async with connect(f"{url}/ws/py?name=Bob") as bob:
                bob_id = json.loads(await bob.recv())["id"]
                joined = json.loads(await ada.recv())
                self.assertEqual(joined, {"type": "joined", "id": bob_id, "name": "Bob"})
                await bob.send(json.dumps({"type": "message", "text": "grüße"}))
                said = json.loads(await ada.recv())
                self.assertEqual((said["from"], said["text"]), (bob_id, "grüße"))
                self.assertEqual(json.loads(await bob.recv()), said)
            self.assertEqual(json.loads(await ada.recv())["type"], "left")

    async def test_a_request_for_round_trip_time_is_answered_at_once(self):
        async with server("chat") as url, connect(f"{url}/ws/py?name=Ada") as ada:
            await ada.recv()
            before = time.monotonic()
            for n in (0, 1, 1 << 53):
                await ada.send(json.dumps({"type": "ping", "n": n}))
                self.assertEqual(json.loads(await ada.recv()), {"type": "pong", "n": n})
            self.assertLess(time.monotonic() - before, 5)

    async def test_echo_agrees_on_the_subprotocol_echo(self):
        async with server("chat") as url:
            async with connect(f"{url}/echo", subprotocols=["other", "echo"]) as socket:
                self.assertEqual(socket.subprotocol, "echo")
                await socket.send(b"\x00\x01")
                self.assertEqual(await socket.recv(), b"\x00\x01")

    async def test_echo_refuses_other_subprotocols_and_none(self):
        async with server("chat") as url:
            for subprotocols in (["chat", "Echo"], None):
                with self.assertRaises(InvalidStatus) as refused:
                    await connect(f"{url}/echo", subprotocols=subprotocols)
                self.assertEqual(refused.exception.response.status_code, 400)


class Client(Bounded):
    """Our client against a server of websockets."""

    @contextlib.asynccontextmanager
    async def client_of(self, handler):
        async with serve(handler, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            async with run("client", f"ws://127.0.0.1:{port}/") as client:
                yield client

    async def test_lines_are_sent_and_replies_shown(self):
        async def handler(socket):
            async for message in socket:
                await socket.send([f"<{message}", ">"])

        async with self.client_of(handler) as client:
            for line in ("one", "zwei Wörter", "😀"):
                client.send(line)
                await client.line(f"<{line}>")
            client.process.stdin.close()
            await client.end()

    async def test_the_server_close_code_and_reason_are_shown(self):
        async def handler(socket):
            await socket.close(4000, "see you")

        async with self.client_of(handler) as client:
            output, _ = await client.end()
            self.assertRegex(output, r"\b4000\b")
            self.assertIn("see you", output)

    async def test_the_end_of_the_input_is_a_clean_close(self):
        closed = asyncio.get_running_loop().create_future()

        async def handler(socket):
            await socket.wait_closed()
            closed.set_result(socket.close_code)

        async with self.client_of(handler) as client:
            client.process.stdin.close()
            self.assertEqual(await closed, 1000)
            _, exit_code = await client.end()
            self.assertEqual(exit_code, 0)

    async def test_the_client_answers_pings(self):
        latency = asyncio.get_running_loop().create_future()

        async def handler(socket):
            latency.set_result(await (await socket.ping("are you there")))
            await socket.wait_closed()

        async with self.client_of(handler):
            self.assertLess(await latency, 5)


class Deflate(Bounded):
    """permessage-deflate, in both directions, with every wish of one side."""

    WISHES = [
        {"bits": bits, "server": server, "client": client}
        for bits, server, client in itertools.product(
            (None, 9, 12, 15), (False, True), (False, True)
        )
    ]

    @staticmethod
    def options(bits, server, client):
        """The options of deflate_peer."""
        if bits:
            yield from ("--server-max-window-bits", str(bits))
            yield from ("--client-max-window-bits", str(bits))
        if server:
            yield "--server-no-context-takeover"
        if client:
            yield "--client-no-context-takeover"

    @staticmethod
    def factory_options(bits, server, client):
        return {
            "server_no_context_takeover": server,
            "client_no_context_takeover": client,
            "server_max_window_bits": bits,
            "client_max_window_bits": bits,
        }

    def assert_agreed(self, header, bits, server, client):
        """Checks an answer, in which the largest window need not be named."""
        name, *params = header.split("; ")
        wishes = {"server": server, "client": client}
        expected = {f"{side}_no_context_takeover" for side in wishes if wishes[side]}
        if bits in (9, 12):
            expected |= {f"{side}_max_window_bits={bits}" for side in wishes}
        largest = {f"{side}_max_window_bits=15" for side in wishes}
        self.assertEqual(name, "permessage-deflate")
        self.assertEqual(set(params) - largest, expected)

    async def exercise(self, socket, counted, server, client):
        """Sends messages of all kinds to an echo server that compresses as wished."""
        noise = random.Random(1).randbytes

        async def talk(message, whole=None):
            counted.update(sent=0, received=0)
            await socket.send(message)
            self.assertTrue(await socket.recv() == (message if whole is None else whole))
            return counted["sent"], counted["received"]

        for size in (0, 1, 125, 126, 65535, 65536, 300_000):
            for message in ("x" * size, noise(size)):
                await talk(message)
        pieces = random.Random(2).choices(["room ", "grüße ", "member ", "of "], k=20_000)
        text = "".join(pieces)
        batches = ["".join(pieces[at : at + 1000]) for at in range(0, len(pieces), 1000)]
        for count in (await talk(text), await talk(batches, text)):
            self.assertLess(max(count), len(text) / 2)
        message = noise(200)
        await talk(message)
        for _ in range(5):
            sent, received = await talk(message)
            self.assertEqual(sent < 50, not client, f"{sent} bytes sent")
            self.assertEqual(received < 50, not server, f"{received} bytes received")

    @staticmethod
    def count(socket):
        """Counts the bytes on the wire from now on."""
        counted = {"sent": 0, "received": 0}
        write, data_received = socket.transport.write, socket.data_received

        def counting_write(data):
            counted["sent"] += len(data)
            write(data)

        def counting_receive(data):
            counted["received"] += len(data)
            data_received(data)

        socket.transport.write = counting_write
        socket.data_received = counting_receive
        return counted

    async def test_a_client_takes_what_the_server_wants(self):
        for wish in self.WISHES:
            with self.subTest(**wish):
                async with server("deflate_peer", "serve", "0", *self.options(**wish)) as url:
                    async with connect(url) as socket:
                        self.assert_agreed(
                            socket.response.headers["Sec-WebSocket-Extensions"], **wish
                        )
                        await self.exercise(
                            socket, self.count(socket), wish["server"], wish["client"]
                        )

    async def test_a_server_grants_what_the_client_wants(self):
        async with server("deflate_peer", "serve", "0") as url:
            for wish in self.WISHES:
                factory = ClientPerMessageDeflateFactory(**self.factory_options(**wish))
                with self.subTest(**wish):
                    async with connect(url, compression=None, extensions=[factory]) as socket:
                        self.assert_agreed(
                            socket.response.headers["Sec-WebSocket-Extensions"], **wish
                        )
                        await self.exercise(
                            socket, self.count(socket), wish["server"], wish["client"]
                        )

    async def answers(self, factory, options):
        """Runs deflate_peer against an echo server, and gives what was agreed."""

        async def echo(socket):
            async for message in socket:
                await socket.send(message)

        async with serve(
            echo, "127.0.0.1", 0, compression=None, extensions=[factory]
        ) as listening:
            port = listening.sockets[0].getsockname()[1]
            url = f"ws://127.0.0.1:{port}/"
            async with run("deflate_peer", "connect", url, *options) as client:
                output, exit_code = await client.end()
        self.assertEqual(exit_code, 0, output)
        self.assertIn("192 messages ok", output)
        return re.search("^agreed: (.*)$", output, re.MULTILINE).group(1)

    async def test_our_client_takes_what_a_server_wants(self):
        for wish in self.WISHES:
            with self.subTest(**wish):
                factory = ServerPerMessageDeflateFactory(**self.factory_options(**wish))
                self.assert_agreed(await self.answers(factory, []), **wish)

    async def test_our_client_is_granted_what_it_wants(self):
        for wish in self.WISHES:
            with self.subTest(**wish):
                factory = ServerPerMessageDeflateFactory()
                self.assert_agreed(await self.answers(factory, self.options(**wish)), **wish)


if __name__ == "__main__":
    result = unittest.main(verbosity=2, exit=False).result
    failed = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - failed} passed, {failed} failed")
    sys.exit(failed > 0)
