// The chat page in headless Chromium against the example chat.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { after, afterEach, before, beforeEach, suite, test as unbounded } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { serve } from "./server.mjs";

const test = (name, body) => unbounded(name, { timeout: 60_000 }, body);

const SCREENSHOTS = fileURLToPath(new URL("../../build/screenshots/", import.meta.url));
const DESKTOP = { viewport: { width: 1200, height: 760 } };
const PHONE = { viewport: { width: 390, height: 780 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };

let browser, server, errors;

before(async () => {
  mkdirSync(SCREENSHOTS, { recursive: true });
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
});
after(() => browser?.close());

beforeEach(async () => {
  errors = [];
  server = await serve("chat");
});
afterEach(async () => {
  await Promise.all(browser.contexts().map((context) => context.close()));
  await server.stop();
  assert.deepEqual(errors, [], "no page threw anything");
});

/** Opens a room in a tab of a browser that has never been here, and joins it. */
async function join(name, room = "lobby", options = DESKTOP) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.on("pageerror", (error) => errors.push(error));
  await page.goto(`http://${server.host}/r/${room}`);
  await page.fill("#name", name);
  await page.click("#join");
  await connected(page);
  return page;
}

const connected = (page) => page.waitForSelector("body[data-state=open]");
const cut = (page) => page.waitForSelector("body:not([data-state=open])", { state: "attached" });

async function say(page, text) {
  await page.fill("#text", text);
  await page.press("#text", "Enter");
}

/** Waits for a message, which must be there exactly once. */
async function sees(page, text, kind = "message") {
  const found = page.locator(`#messages [data-kind="${kind}"]`, { hasText: text });
  await found.first().waitFor();
  assert.equal(await found.count(), 1, `${text} once`);
  return found;
}

async function seesMembers(page, ...names) {
  const shown = () => page.$$eval("#members li", (items) => items.map((item) => item.dataset.name));
  await page.waitForFunction(
    (names) => names === [...document.querySelectorAll("#members li")].map((li) => li.dataset.name).sort().join(),
    [...names].sort().join(),
  ).catch(async (error) => assert.fail(`${error}: members are ${await shown()}`));
  assert.equal(await page.textContent("#count"), `${names.length}`);
}

const texts = (page) => page.$$eval("#messages .message p", (items) => items.map((item) => item.textContent));

suite("the chat page", () => {
  test("two tabs see each other and each other's messages, another room sees nothing", async () => {
    const ada = await join("Ada");
    const bob = await join("Bob");
    const eve = await join("Eve", "elsewhere");
    await seesMembers(ada, "Ada", "Bob");
    await seesMembers(bob, "Ada", "Bob");
    await seesMembers(eve, "Eve");
    await sees(ada, "Bob joined", "joined");

    await say(ada, "Hello from Ada");
    await say(bob, "Hello from Bob");
    for (const page of [ada, bob]) {
      for (const text of ["Hello from Ada", "Hello from Bob"]) await sees(page, text);
    }
    assert.deepEqual(await ada.$$eval(".mine p", (items) => items.map((item) => item.textContent)), ["Hello from Ada"]);
    assert.equal(await ada.inputValue("#text"), "");
    assert.equal(await ada.evaluate(() => document.activeElement.id), "text", "the focus stays");

    const answer = await fetch(`http://${server.host}/rooms/lobby`, { method: "POST", body: "Hello over HTTP" });
    assert.deepEqual(await answer.json(), { delivered: 2 });
    for (const page of [ada, bob]) await sees(page, "Hello over HTTP");

    // What reached the others before this answer would have reached this room too.
    await say(eve, "Anyone here?");
    await sees(eve, "Anyone here?");
    assert.deepEqual(await texts(eve), ["Anyone here?"]);
    await ada.screenshot({ path: `${SCREENSHOTS}two-tabs.png` });
  });

  test("closing a tab shows a leave", async () => {
    const ada = await join("Ada");
    const bob = await join("Bob");
    await seesMembers(ada, "Ada", "Bob");
    await bob.close();
    await sees(ada, "Bob left", "left");
    await seesMembers(ada, "Ada");
  });

  test("someone who comes later sees the history", async () => {
    const ada = await join("Ada");
    await say(ada, "before you came");
    await sees(ada, "before you came");
    const bob = await join("Bob");
    await sees(bob, "before you came");
    await bob.reload();
    await connected(bob);
    await sees(bob, "before you came");
  });

  test("markup in messages and names is shown as text", async () => {
    const attack = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`;
    const ada = await join("Ada");
    const eve = await join("<b onclick=x>Eve</b>");
    await say(eve, attack);
    await sees(ada, "<img src=x");
    assert.deepEqual(await texts(ada), [attack]);
    assert.equal(await ada.locator("#chat img, #messages script, #members b, #messages b b").count(), 0);
    assert.doesNotMatch(await ada.title(), /owned/);
    await seesMembers(ada, "Ada", "<b onclick=x>Eve</b>");
  });

  test("web addresses become links and nothing else does", async () => {
    const ada = await join("Ada");
    await say(ada, "see https://example.org/a?b=1, or javascript:alert(1)");
    await sees(ada, "see https://example.org/a?b=1, or javascript:alert(1)");
    const links = await ada.$$eval("#messages a", (all) => all.map((a) => a.getAttribute("href")));
    assert.deepEqual(links, ["https://example.org/a?b=1"]);
  });

  test("the round-trip time is shown", async () => {
    const ada = await join("Ada");
    await ada.waitForFunction(() => /^[\d.]+ ms$/.test(document.querySelector("#rtt").textContent));
  });

  test("the start screen leads into a room, and rooms can be switched", async () => {
    const context = await browser.newContext(PHONE);
    const page = await context.newPage();
    await page.goto(`http://${server.host}/`);
    await page.screenshot({ path: `${SCREENSHOTS}start-phone.png` });
    assert.equal(await page.inputValue("#room"), "lobby");
    await page.fill("#name", "  Ada  ");
    await page.fill("#room", "tea room");
    await page.press("#room", "Enter");
    await connected(page);
    assert.equal(new URL(page.url()).pathname, "/r/tea-room");
    await seesMembers(page, "Ada");

    await page.click("#people");
    await page.fill("#other", "coffee");
    await page.press("#other", "Enter");
    await page.waitForURL("**/r/coffee");
    await connected(page);
    assert.equal(await page.textContent("#title"), "coffee");
    await page.goBack();
    await page.waitForFunction(() => document.querySelector("#title").textContent === "tea-room");
    await connected(page);

    // The name is remembered: a link into a room leads straight there.
    await page.goto(`http://${server.host}/r/tea-room`);
    await connected(page);
    await seesMembers(page, "Ada");
  });

  test("new messages do not move the list of someone who reads further up", async () => {
    const ada = await join("Ada", "scroll", PHONE);
    const post = (text) => fetch(`http://${server.host}/rooms/scroll`, { method: "POST", body: text });
    for (let n = 0; n < 30; n++) await post(`line ${n}\n`.repeat(3));
    await sees(ada, "line 29");
    const away = () => ada.$eval("#scroller", (e) => e.scrollHeight - e.scrollTop - e.clientHeight);
    assert.ok((await away()) < 2, "at the bottom the list follows");

    await ada.$eval("#scroller", (e) => (e.scrollTop = 100));
    await post("unseen");
    await ada.waitForSelector("#newer:not([hidden])");
    assert.equal(await ada.$eval("#scroller", (e) => e.scrollTop), 100);
    await ada.click("#newer");
    await ada.waitForSelector("#newer", { state: "hidden" });
    assert.ok((await away()) < 2);

    // What takes room from the list does not hide its end.
    await server.stop();
    await ada.waitForSelector("#banner:not([hidden])");
    assert.ok((await away()) < 2, "the banner");
    await ada.fill("#text", "several\nlines\nof\ntext");
    assert.ok((await away()) < 2, "a long draft");
  });

  for (const [signal, code, message] of [
    ["SIGINT", "1001", /server is restarting, reconnecting/],
    ["SIGKILL", "1006", /Connection lost, reconnecting/],
  ]) {
    test(`a server ended by ${signal} and started again is found again, and nothing typed is lost`, async () => {
      const ada = await join("Ada", "lobby", { ...DESKTOP, colorScheme: "dark" });
      const bob = await join("Bob", "lobby", PHONE);
      await say(ada, "before");
      for (const page of [ada, bob]) await sees(page, "before");
      await ada.fill("#text", "half a sent");

      const ended = await server.stop(signal);
      if (signal === "SIGINT") assert.deepEqual(ended, { code: 0, signal: null });
      for (const page of [ada, bob]) {
        await cut(page);
        assert.equal(await page.getAttribute("body", "data-close-code"), code);
        await page.waitForFunction(() => !document.querySelector("#banner").hidden);
        assert.match(await page.textContent("#problem"), message);
      }
      await say(bob, "while it was away");
      await bob.waitForSelector(".pending");
      await ada.screenshot({ path: `${SCREENSHOTS}away-${signal}-desktop-dark.png` });
      await bob.screenshot({ path: `${SCREENSHOTS}away-${signal}-phone.png` });

      server = await serve("chat", server.port);
      await Promise.all([ada, bob].map(connected));
      for (const page of [ada, bob]) await seesMembers(page, "Ada", "Bob");
      assert.equal(await ada.inputValue("#text"), "half a sent");
      assert.equal(await bob.locator(".pending").count(), 0);
      await ada.press("#text", "End");
      await ada.keyboard.type("ence");
      await ada.press("#text", "Enter");
      for (const page of [ada, bob]) {
        await sees(page, "half a sentence");
        await sees(page, "while it was away");
        await sees(page, "before");
        assert.equal(await page.locator("#banner").isVisible(), false);
      }
    });
  }
});

suite("WebSocket in Chromium", () => {
  /** Runs in the page: opens a socket, sends, and says how it went. */
  const talk = ([path, protocols, ...messages]) => new Promise((resolve) => {
    const socket = new WebSocket(`ws://${location.host}${path}`, protocols);
    socket.binaryType = "arraybuffer";
    const received = [];
    let opened = false;
    socket.onopen = () => {
      opened = true;
      for (const message of messages) socket.send(Array.isArray(message) ? new Uint8Array(message) : message);
    };
    socket.onmessage = ({ data }) => {
      received.push(typeof data === "string" ? data : [...new Uint8Array(data)]);
      if (received.length === messages.length) socket.close(4000, "ende");
    };
    socket.onclose = ({ code, wasClean }) =>
      resolve({ opened, protocol: socket.protocol, received, code, wasClean });
  });

  test("/echo speaks the subprotocol echo, with text and binary", async () => {
    const page = await join("Ada");
    const messages = ["grüße 😀", [0, 1, 255], "", "x".repeat(70_000)];
    assert.deepEqual(await page.evaluate(talk, ["/echo", ["other", "echo"], ...messages]), {
      opened: true, protocol: "echo", received: messages, code: 4000, wasClean: true,
    });
  });

  test("/echo fails with another subprotocol and without any", async () => {
    const page = await join("Ada");
    for (const protocols of [["other"], []]) {
      const { opened, code } = await page.evaluate(talk, ["/echo", protocols]);
      assert.deepEqual({ opened, code }, { opened: false, code: 1006 });
    }
  });

  test("a server that is told to stop closes cleanly with 1001", async () => {
    const page = await join("Ada");
    const closed = page.evaluate(() => new Promise((resolve) => {
      const socket = new WebSocket(`ws://${location.host}/ws/lobby?name=Watcher`);
      socket.onclose = ({ code, wasClean }) => resolve({ code, wasClean });
    }));
    await seesMembers(page, "Ada", "Watcher");
    assert.deepEqual(await server.stop("SIGINT"), { code: 0, signal: null });
    assert.deepEqual(await closed, { code: 1001, wasClean: true });
  });
});
