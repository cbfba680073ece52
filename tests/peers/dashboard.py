"""What tests/peers/dashboard looks at, in a browser that is driven through Chrome's DevTools protocol over a pipe.

Arguments: the server's URL, the admin listener's, the program, its process, the folder for pictures, --, the browser.
"""

import base64
import fcntl
import hashlib
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

PATIENCE = 60  # seconds until something that has to happen has happened
split = sys.argv.index("--")
server, admin, wasmux, process, pictures = sys.argv[1:split]
token = pathlib.Path("token").read_text().strip()
failed = False


def check(what, holds, got=""):
    global failed
    failed |= not holds
    print(("ok      " if holds else "FAILED  ") + f"dashboard: {what}" + ("" if holds else f"; got: {got!r}"), flush=True)


class Browser:
    """One browser with one page."""

    def __init__(self, command):
        # It reads from 3 and writes to 4; the ends must not lie there before.
        inner, outer = os.pipe(), os.pipe()
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (inner[0], outer[1])]
        for end in (inner[0], outer[1]):
            os.close(end)

        def take():
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=take, pass_fds=(3, 4), start_new_session=True, stderr=open("browser.log", "w"))
        for end in ends:
            os.close(end)
        self.to, self.out = inner[1], outer[0]
        self.rest, self.number, self.session, self.events = b"", 0, None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def end(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def message(self):
        while b"\0" not in self.rest:
            if not select.select([self.out], [], [], PATIENCE)[0]:
                raise TimeoutError("the browser says nothing")
            piece = os.read(self.out, 1 << 20)
            if not piece:
                raise EOFError("the browser has ended")
            self.rest += piece
        one, self.rest = self.rest.split(b"\0", 1)
        return json.loads(one)

    def call(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.message()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def value(self, expression):
        """The value of an expression, or of what it promises."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def until(self, expression):
        """Waits until it is true; says whether it ever was."""
        end = time.monotonic() + PATIENCE
        while not self.value(f"!!({expression})"):
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def text(self, selector):
        """What somebody sees of it."""
        return self.value(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    def press(self, selector):
        """Clicks on it with the mouse."""
        point = self.value(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}});"
            "const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=point[0], y=point[1], button="left", clickCount=1)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def key(self, name, code, text=None):
        about = {"key": name, "code": name, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", **about, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def window(self, width, scheme):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def picture(self, name, whole=True):
        self.value("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(() => drawn(1))))")
        png = self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        pathlib.Path(pictures, name).write_bytes(base64.b64decode(png))

    def complaints(self):
        """What the console has of errors and warnings, and what was thrown."""
        found = []
        for event in self.events:
            params = event.get("params", {})
            if event.get("method") == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                found.append(params["entry"]["text"])
            if event.get("method") == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
                found.append(str(params["args"]))
            if event.get("method") == "Runtime.exceptionThrown":
                found.append(str(params["exceptionDetails"]))
        return found

    def loaded(self):
        sent = [event["params"]["request"]["url"] for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith("data:")]


def get(path):
    try:
        with urllib.request.urlopen(server + path, timeout=PATIENCE) as response:
            return response.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()


def run(*args):
    return subprocess.run([wasmux, *args], check=True, capture_output=True, text=True, env={**os.environ, "WASMUX_ADMIN_TOKEN": token}).stdout


def version(file):
    return hashlib.sha256(pathlib.Path(file).read_bytes()).hexdigest()[:12]


def deploy():
    run("deploy", "hello", "two.wat", "--admin", admin.removeprefix("http://"))


def traffic(over):
    """Requests of all kinds, about 40 a second, until it is over."""
    while not over.wait(0.1):
        for path in ("/hello", "/fixed", "/nothing"):
            get(path)
    for path in ("/hello",):
        get(path)


def log_in(page):
    page.window(1280, "light")
    page.call("Page.navigate", url=admin + "/")
    check("it asks for the token", page.until("document.querySelector('#login')?.hidden === false"))
    check("it shows nothing without", page.text("main") == "", page.text("main"))
    page.press("#token")
    page.type("not this one, not this one")
    page.key("Enter", 13, "\r")
    check("it says when a token is wrong", page.until("document.querySelector('#note').innerText.includes('not the token')"))
    complaints = page.complaints()
    check("the console only has the refusals", all("401" in text for text in complaints), complaints)
    page.events.clear()
    page.press("#token")
    page.type(token)
    page.press("#login button")
    check("the token opens it", page.until("!document.querySelector('main').hidden"), page.text("body"))
    check("and nothing is wrong any more", page.text("#note") == "", page.text("#note"))


def empty(page):
    check("nothing has failed yet", "Nothing has failed." in page.text("#failures") and "None since the start." in page.text("#errors"))
    check("there is one deployment, in force", "in force" in page.text("#deployments") and "Roll back" not in page.text("#deployments"))
    page.picture("dashboard-empty.png")


def sights(page):
    deploy()
    get("/trap"), get("/html/<b>/x".replace("<", "%3C").replace(">", "%3E"))
    check("requests per second are not zero", page.until("Number(document.querySelector('#rps b').innerText) > 1"), page.text("#rps"))
    drawn = page.until("document.querySelector('#rps polyline').getAttribute('points').split(' ').length > 5")
    check("they are drawn over time", drawn)
    check("each route's are not zero either", page.until("/\\/hello\\s+hello\\s+\\d+\\s+[1-9]\\d*\\.\\d/.test(document.querySelector('#routes').innerText)"), page.text("#routes"))
    check("latency is there", page.until("/\\d ms/.test(document.querySelector('#latency b').innerText)"), page.text("#latency"))
    check("memory is there", page.until("/^\\d+(\\.\\d+)? MiB/.test(document.querySelector('#memory b').innerText)"), page.text("#memory"))
    check("the deployment is there", page.until("document.querySelector('#deployments').innerText.includes('deploy hello')"))
    check("errors are there by their reason", page.until("/trapped\\s+trap\\s/.test(document.querySelector('#errors').innerText)"), page.text("#errors"))
    handlers = page.text("#handlers")
    for name in ("hello", "trap", "html", "a-handler-whose-name"):
        check(f"the handler {name} is there", name in handlers, handlers)
    check("the version is the one that was deployed", version("two.wat") in handlers, handlers)
    routes = page.text("#routes")
    for pattern in ("GET /hello", "/trap", "/html/<b>/{x}", "/{rest...}", "/fixed", "no route"):
        check(f"the route {pattern} is there", pattern in routes, routes)
    page.value("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    failures = page.text("#failures")
    check("a trap is there with its backtrace", "depths_of_despair" in failures and "on_the_way" in failures and "unreachable" in failures, failures)
    check("what a guest has said is text", '<img src=x onerror="window.pwned=1"><script>' in failures, failures)
    check("and nothing of it became HTML", page.value("[document.querySelectorAll('main img, main script').length, typeof window.pwned].join()") == "0,undefined")
    history = page.text("#deployments")
    check("the history is there", version("two.wat") in history and version("hello.wat") in history, history)


def looks(page):
    for width, scheme, name in ((1280, "light", ""), (1280, "dark", "-dark"), (390, "light", "-narrow"), (390, "dark", "-narrow-dark")):
        page.window(width, scheme)
        page.picture(f"dashboard{name}.png")
        over = page.value("document.documentElement.scrollWidth - window.innerWidth")
        check(f"{width} wide, {scheme}: nothing sticks out", over <= 0, over)
    page.window(1280, "light")


def rolls_back(page):
    button = "#deployments button[data-do='1']"
    check("what is served is the second version", get("/hello") == "two", get("/hello"))
    page.press(button)
    check("it asks before it rolls back", page.until("document.querySelector('dialog').open"))
    asked = page.text("dialog")
    check("and shows what would change", f"{version('two.wat')} → {version('hello.wat')}" in asked.replace("\n", " ").replace("  ", " "), asked)
    page.picture("dashboard-question.png", whole=False)
    page.press("#no")
    check("Cancel changes nothing", page.until("!document.querySelector('dialog').open") and get("/hello") == "two")
    page.press(button)
    page.until("document.querySelector('dialog').open")
    page.press("#yes")
    check("it says what is in force", page.until("document.querySelector('#note').innerText.includes('Deployment 3 is in force')"), page.text("#note"))
    check("the earlier version is served", get("/hello") == "one", get("/hello"))
    row = "[...document.querySelectorAll('#deployments tr')].find((row) => row.innerText.includes('in force'))?.innerText ?? ''"
    check("and listed", page.until(f"/^3\\b[^]*in force[^]*rollback 1/.test({row})"), page.value(row))
    check("the handler has it", page.until(f"document.querySelector('#handlers').innerText.includes('{version('hello.wat')}')"))


def host_gone(page):
    os.kill(int(process), signal.SIGSTOP)
    try:
        gone = page.until("document.querySelector('#note').innerText.includes('has not answered')")
        check("it says when the host does not answer", gone, page.text("#note"))
        check("and that what it shows is old", page.value("document.querySelector('main').classList.contains('old')"))
        page.picture("dashboard-gone.png")
    finally:
        os.kill(int(process), signal.SIGCONT)
    back = page.until("document.querySelector('#note').innerText === '' && !document.querySelector('main').classList.contains('old')")
    check("it goes on when the host does", back, page.text("#note"))


def policy(page):
    """What would happen if some text became HTML after all."""
    page.value(
        "new Promise((done) => { addEventListener('securitypolicyviolation', done, { once: true });"
        "document.body.insertAdjacentHTML('beforeend', '<button id=evil onclick=\"window.pwned=1\">evil</button>');"
        "document.querySelector('#evil').click(); }).then(() => 1)"
    )
    check("another script would not run", page.value("typeof window.pwned") == "undefined")


page = Browser(sys.argv[split + 1 :])
over = threading.Event()
sender = threading.Thread(target=traffic, args=[over])
try:
    log_in(page)
    empty(page)
    sender.start()
    sights(page)
    looks(page)
    rolls_back(page)
    foreign = [url for url in page.loaded() if not url.startswith(admin + "/")]
    check("it has loaded nothing from elsewhere", len(page.loaded()) > 8 and not foreign, foreign)
    check("the console has no errors", not page.complaints(), page.complaints())
    over.set()
    sender.join()
    host_gone(page)
    policy(page)
finally:
    over.set()
    page.end()
sys.exit(failed)
