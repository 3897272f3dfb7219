"""The console in a real browser, on all services: each view, by people who look, type and press."""

from __future__ import annotations

import json
import re
import uuid

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Locator, Page, Route, expect

from pactstream import atlas
from tests.browsers import MISSING, PHONE
from tests.console_stack import STRANGER, ConsoleStack
from tests.pipeline import new_agent
from tests.stack import eventually

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)

SCHEMES = ("light", "dark")


def log_in(page: Page, console: ConsoleStack, to: str = "") -> None:
    page.goto(console.url + to)
    page.get_by_label("API key").fill(console.key)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("navigation", name="Views")).to_be_visible()


def violating_event(page: Page, console: ConsoleStack) -> dict[str, str]:
    answer = page.request.get(f"{console.url}/api/events?verdict=violated&agent={atlas.AGENT_ID}")
    found: dict[str, str] = answer.json()["events"][-1]
    return found


def test_logging_in_and_out(context: BrowserContext, console: ConsoleStack) -> None:
    page = context.new_page()
    page.goto(console.url)
    page.get_by_label("API key").fill("pk_live_guess")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("no such API key")
    page.get_by_label("API key").fill(console.key)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Live", exact=True)).to_be_visible()
    expect(page.locator(".who")).to_contain_text("Demo treasury")
    assert page.evaluate("document.cookie") == ""  # no script can read the session
    copies = context.cookies()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("API key")).to_be_visible()
    assert context.cookies() == []
    context.add_cookies([{"name": one["name"], "value": one["value"], "url": console.url} for one in copies])
    assert page.request.get(f"{console.url}/api/agents").status == 401


def test_a_logout_that_other_processes_were_not_told_of_says_so(
    context: BrowserContext, console: ConsoleStack
) -> None:
    page = context.new_page()  # where a failed request is no fault
    log_in(page, console)

    def away(route: Route) -> None:
        if route.request.method == "DELETE":
            route.fulfill(status=503, json={"error": "logged out here, but others were not told"})
        else:
            route.continue_()

    page.route("**/console/api/session", away)
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("API key")).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("others were not told")


def test_a_violation_turns_red_as_it_happens(page: Page, console: ConsoleStack) -> None:
    log_in(page, console)
    expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
    expect(page.locator(".stream .event").nth(30)).to_be_visible()
    event_id = console.call("transfer_funds", {"destination": STRANGER, "amount": 7_777, "currency": "USDC"})
    row = page.locator(".stream .event.broken.critical", has=page.locator(f'a[href$="{event_id}"]'))
    expect(row).to_be_visible()
    expect(row).to_contain_text("destination is not on the allow list")
    red, green, blue = _channels(row.evaluate("node => getComputedStyle(node).borderLeftColor"))
    assert red > 2 * max(green, blue)
    row.get_by_role("link", name="transfer_funds").click()
    expect(page.get_by_role("heading", name="transfer_funds")).to_be_visible()
    expect(page.locator(".values")).to_contain_text("7777")


def test_filters_narrow_the_stream(page: Page, console: ConsoleStack) -> None:
    log_in(page, console)
    page.get_by_label("Verdict").select_option("critical")
    expect(page.locator(".stream .event:not(.broken)")).to_have_count(0)
    assert "verdict=critical" in page.url
    page.get_by_label("Tool").fill("get_balance")
    page.keyboard.press("Enter")
    expect(page.get_by_text("No events yet")).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".stream .event").nth(30)).to_be_visible()
    page.get_by_label("Kind").select_option("session_start")
    expect(page.locator(".stream .event").first).to_contain_text("Session begins")
    valid = {"account": "treasury-main"}
    page.get_by_label("Kind").select_option("tool_call")
    page.get_by_label("Verdict").select_option("valid")
    event_id = console.call("get_balance", valid)
    expect(page.locator(f'.stream a[href$="{event_id}"]')).to_be_visible()


def test_what_is_being_typed_outlasts_an_event_that_arrives(page: Page, console: ConsoleStack) -> None:
    log_in(page, console)
    expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
    page.get_by_label("Tool").press_sequentially("get_bal")
    event_id = console.call("get_balance", {"account": "treasury-main"})
    expect(page.locator(f'.stream a[href$="{event_id}"]')).to_be_visible()
    expect(page.get_by_label("Tool")).to_have_value("get_bal")


def test_a_hostile_tool_is_shown_and_never_run(page: Page, console: ConsoleStack) -> None:
    hostile = "<img src=x onerror=\"document.title='owned'\">"
    log_in(page, console)
    expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
    console.call(hostile, {"<b>": hostile})
    expect(page.locator(".stream").get_by_text(hostile)).to_be_visible()
    assert page.locator(".stream img").count() == 0
    assert "owned" not in page.title()


def test_a_session_as_a_timeline(page: Page, console: ConsoleStack) -> None:
    log_in(page, console)
    event = violating_event(page, console)
    page.goto(f"{console.url}/sessions/{atlas.AGENT_ID}/{event['sessionId']}")
    steps = page.get_by_role("list", name="What happened").locator("> li")
    expect(steps.first).to_contain_text("Session begins")
    expect(steps.filter(has_text="Session ends")).to_be_visible()
    broken = page.locator(".step.broken")
    expect(broken).to_contain_text("destination is not on the allow list")
    expect(broken).to_contain_text(STRANGER)


def test_an_agents_figures(page: Page, console: ConsoleStack) -> None:
    log_in(page, console, "/agents")
    page.get_by_role("table").get_by_role("link", name="Atlas").click()
    expect(page.get_by_role("heading", name="Atlas")).to_be_visible()
    for title in ("Score", "Session health", "Pact compliance", "Oracle health"):
        expect(page.get_by_role("region", name=title, exact=True)).to_be_visible()
    score = page.get_by_role("region", name="Score by dimension")
    expect(score.get_by_role("row")).to_have_count(13)
    expect(page.get_by_role("region", name="Rules violated most")).to_contain_text("destination")
    expect(page.get_by_role("img", name=re.compile("^Tool calls: ok"))).to_be_visible()
    page.get_by_text("1 hour").click()
    assert "span=1h" in page.url
    expect(page.get_by_role("region", name="Session health")).to_contain_text("Tool calls")


def test_a_pact_is_checked_as_one_types_compared_and_replayed(page: Page, console: ConsoleStack) -> None:
    log_in(page, console, "/pacts")
    page.get_by_role("table").get_by_role("link", name="Atlas: treasury sweep").click()
    area = page.get_by_label("Pact as JSON")
    expect(page.get_by_text("A valid pact")).to_be_visible()
    document = area.input_value()
    area.fill(document.replace('"max": 1000', '"max": "lots"'))
    fault = page.locator(".faults button").first
    expect(fault).to_contain_text("valueRange.max")
    fault.click()
    assert area.evaluate("node => node.value.slice(node.selectionStart, node.selectionEnd)") == '"lots"'
    expect(page.get_by_role("button", name="Put in force")).to_be_disabled()
    area.fill(
        document.replace('"max": 1000', '"max": 100000').replace('"amount": "1000"', '"amount": "100000"')
    )
    expect(page.get_by_text("A valid pact")).to_be_visible()
    page.get_by_role("button", name="What changes").click()
    expect(page.get_by_role("region", name="Differences in meaning")).to_contain_text("looser")
    page.get_by_role("button", name="Replay 24 hours").click()
    expect(page.get_by_role("region", name="Calls by verdict")).to_contain_text("critical")
    expect(page.locator(".replay")).to_contain_text("0 valid then and violated now")


def test_a_version_is_put_in_force(page: Page, console: ConsoleStack) -> None:
    log_in(page, console, "/pacts/new")
    area = page.get_by_label("Pact as JSON")
    name = f"Pact {uuid.uuid4().hex[:6]}"
    document = {"name": name, "agentId": atlas.AGENT_ID, "conditions": []} | json.loads(area.input_value())
    area.fill(json.dumps(document | {"name": name, "agentId": atlas.AGENT_ID}, indent=2))
    expect(page.get_by_text("A valid pact")).to_be_visible()
    page.get_by_role("button", name="Put in force").click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    area.fill(area.input_value().replace(name, f"{name} bis"))
    expect(page.get_by_role("button", name="Put in force")).to_be_enabled()
    page.get_by_role("button", name="Put in force").click()
    expect(page.get_by_role("status").filter(has_text="Version 2 is in force")).to_be_visible()


def test_a_proof_is_verified_in_the_browser(page: Page, console: ConsoleStack) -> None:
    log_in(page, console)
    event = violating_event(page, console)
    page.goto(f"{console.url}/ledger")
    expect(page.get_by_role("region", name="Checkpoints").get_by_text("holds").first).to_be_visible()
    page.get_by_label("Event id").fill(event["eventId"])
    page.get_by_role("button", name="Verify").click()
    expect(page.get_by_text("Verified.")).to_be_visible()
    expect(page.locator(".proof")).to_contain_text("leads to the signed root")


@pytest.mark.parametrize("what", ["leaf", "path", "signature", "key"])
def test_a_forged_proof_is_not(page: Page, console: ConsoleStack, what: str) -> None:
    log_in(page, console)
    event = violating_event(page, console)
    forge = {"leaf": 1, "path": 3, "signature": -2}

    def forged(text: str) -> str:
        lines = text.split("\n")
        at = forge[what]
        line = lines[at]
        place = len(line) // 2
        lines[at] = line[:place] + ("A" if line[place] != "A" else "B") + line[place + 1 :]
        return "\n".join(lines)

    if what == "key":
        answer = page.request.get(f"{console.url}/api/ledger").json()
        answer["keys"] = re.sub(r"\+[0-9a-f]{8}\+", "+00000000+", answer["keys"])
        page.route("**/console/api/ledger", lambda route: route.fulfill(json=answer))
    else:
        page.route(
            "**/console/api/ledger/proofs/*",
            lambda route: route.fulfill(body=forged(route.fetch().text()), content_type="text/plain"),
        )
    page.goto(f"{console.url}/ledger?event={event['eventId']}")
    expect(page.get_by_text("Not verified:")).to_be_visible()
    expect(page.get_by_text("Verified.", exact=True)).to_have_count(0)


def test_a_log_that_grew_is_followed_and_one_that_changed_is_told(
    context: BrowserContext, console: ConsoleStack
) -> None:
    page = context.new_page()
    log_in(page, console, "/ledger")
    logs = page.get_by_role("region", name="Checkpoints")
    expect(logs.get_by_text("first seen").first).to_be_visible()
    event_id = console.call("transfer_funds", {"destination": STRANGER, "amount": 3, "currency": "USDC"})
    grown = logs.get_by_text(re.compile(r"^\+\d+$"))

    def seen_to_grow() -> bool:
        page.get_by_role("button", name="Refresh").click()
        page.wait_for_timeout(200)
        return grown.count() > 0

    eventually(seen_to_grow, timeout=30)
    page.goto(f"{console.url}/ledger?event={event_id}")
    expect(page.get_by_text("Verified.", exact=True)).to_be_visible()
    for change, said in (
        ("`${size} ${btoa('x'.repeat(32))}`", "not the one that this browser has seen"),
        ("`${Number(size) + 1000} ${root}`", "the log is shorter than"),
    ):
        page.evaluate(
            "for (const key of Object.keys(localStorage)) {"
            f" const [size, root] = localStorage[key].split(' '); localStorage[key] = {change}; }}"
        )
        page.reload()
        expect(logs.get_by_text(said).first).to_be_visible()
        expect(page.get_by_text("Not verified:")).to_be_visible()
        expect(logs.get_by_text("A log has changed")).to_be_visible()
    page.get_by_role("button", name="Forget what was seen").click()
    expect(logs.get_by_text("first seen").first).to_be_visible()


def test_a_browser_without_ed25519_says_so(page: Page, console: ConsoleStack) -> None:
    page.add_init_script(
        "const real = SubtleCrypto.prototype.importKey;"
        "SubtleCrypto.prototype.importKey = function (format, key, algorithm, ...rest) {"
        " return algorithm === 'Ed25519' ? Promise.reject(new DOMException('no', 'NotSupportedError'))"
        " : real.call(this, format, key, algorithm, ...rest); };"
    )
    log_in(page, console)
    event = violating_event(page, console)
    page.goto(f"{console.url}/ledger?event={event['eventId']}")
    expect(page.get_by_text("has no Ed25519").first).to_be_visible()


def test_a_revoked_key_is_out_at_once(context: BrowserContext, console: ConsoleStack) -> None:
    key = console.onboarding.issue("short-lived", ["trust:private"])
    page = context.new_page()
    page.goto(console.url)
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
    console.revoke(key)
    expect(page.get_by_label("API key")).to_be_visible()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_view_is_accessible_and_fits_a_phone(
    context: BrowserContext, console: ConsoleStack, scheme: str
) -> None:
    page = context.new_page()
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    page.goto(console.url)
    expect(page.get_by_label("API key")).to_be_visible()
    check(page, "login")
    log_in(page, console)
    event = violating_event(page, console)
    views = {
        "live": "",
        "event": f"/events/{event['eventId']}",
        "session": f"/sessions/{atlas.AGENT_ID}/{event['sessionId']}",
        "agents": "/agents",
        "agent": f"/agents/{atlas.AGENT_ID}",
        "pages": "/pages",
        "pacts": "/pacts",
        "pact": f"/pacts/{atlas.PACT_ID}",
        "ledger": f"/ledger?event={event['eventId']}",
    }
    for name, path in views.items():
        page.goto(console.url + path)
        expect(page.locator("main h1")).to_be_visible()
        expect(page.get_by_text("Loading…")).to_have_count(0)
        check(page, name)
        page.set_viewport_size(PHONE)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], name
        page.set_viewport_size({"width": 1_280, "height": 900})


def check(page: Page, name: str) -> None:
    """No finding of axe that is serious or worse."""
    found = Axe().run(page)
    grave = [
        (one["id"], [node["html"][:200] for node in one["nodes"][:3]])
        for one in found.response["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert grave == [], name


def test_the_keyboard_is_enough(page: Page, console: ConsoleStack) -> None:
    page.goto(console.url)
    page.get_by_label("API key").focus()
    page.keyboard.insert_text(console.key)
    page.keyboard.press("Enter")
    expect(page.locator(".stream .event").first).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    for _ in range(3):
        page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Agents")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Agents")).to_be_visible()


def _channels(colour: str) -> list[int]:
    return [int(one) for one in re.findall(r"\d+", colour)[:3]]


@pytest.fixture
def page_about(console: ConsoleStack) -> str:
    """A page of an agent that is new, so that what is done to it disturbs nobody."""
    return console.violate(new_agent(console.services))


def choose(page: Page, console: ConsoleStack, page_id: str, action: str) -> Locator:
    """The dialog of an action, on the page's view."""
    log_in(page, console, f"/pages/{page_id}")
    expect(page.get_by_role("heading", name="transfer_funds: destination")).to_be_visible()
    page.get_by_role("button", name=action).click()
    return page.get_by_role("dialog", name=action)


def test_a_page_says_what_happened_and_is_acknowledged(
    page: Page, console: ConsoleStack, page_about: str
) -> None:
    dialog = choose(page, console, page_about, "Acknowledge")
    expect(page.get_by_role("region", name="What happened")).to_contain_text(STRANGER)
    expect(page.get_by_role("region", name="Latest calls", exact=True)).to_contain_text("transfer_funds")
    expect(page.get_by_role("link", name=re.compile(r"Pages\d+"))).to_be_visible()
    check(page, "page, with a dialog")
    dialog.get_by_label("Note").fill("looking")
    dialog.get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_role("status").filter(has_text="Acknowledged")).to_be_visible()
    expect(page.get_by_role("region", name="History")).to_contain_text("looking")


def test_accepting_shows_what_changes_and_loosens_the_pact(
    page: Page, console: ConsoleStack, page_about: str
) -> None:
    dialog = choose(page, console, page_about, "Accept and document")
    expect(dialog.get_by_role("region", name="Differences in meaning")).to_contain_text("looser")
    expect(dialog.locator(".replay")).to_contain_text("1 violated then and valid now")
    check(page, "accepting")
    dialog.get_by_label("Reason").fill("a new vendor")
    dialog.get_by_role("button", name="Put it in force").click()
    expect(page.get_by_role("status").filter(has_text="Version 2 of the pact is in force")).to_be_visible()
    expect(page.locator(".heading").get_by_text("accepted")).to_be_visible()


def test_blocking_pauses_the_agent_until_it_is_resumed(
    page: Page, console: ConsoleStack, page_about: str
) -> None:
    dialog = choose(page, console, page_about, "Block and investigate")
    dialog.get_by_label("Reason").fill("who is this?")
    dialog.get_by_role("button", name="Pause the agent").click()
    expect(page.get_by_role("status").filter(has_text="The agent is paused")).to_be_visible()
    happened = page.get_by_role("region", name="What happened")
    expect(happened).to_contain_text("paused")
    happened.get_by_role("link", name="test agent").click()
    page.get_by_role("button", name="Resume").click()
    resume = page.get_by_role("dialog", name="Resume the agent")
    resume.get_by_label("Reason").fill("it was us")
    resume.get_by_role("button", name="Resume").click()
    expect(page.locator(".heading").get_by_text("active")).to_be_visible()


def test_rotating_shows_the_new_keys_once(context: BrowserContext, console: ConsoleStack) -> None:
    # Keys of the tenant that can act as the agent open nothing afterwards, this one included.
    agent, key = console.lone_agent(may_act_as_agent=True)
    page_id = console.violate(agent)
    page = context.new_page()
    page.goto(f"{console.url}/pages/{page_id}")
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="Compromise and rotate").click()
    dialog = page.get_by_role("dialog", name="Compromise and rotate")
    dialog.get_by_label("Reason").fill("the key leaked")
    dialog.get_by_role("button", name="Revoke and rotate").click()
    expect(dialog.locator(".secret").first).to_contain_text("pk_live_")
    check(page, "new keys")
    assert page.request.get(f"{console.url}/api/agents").status == 401
    with page.expect_response("**/console/api/pages?status=open") as asked:
        assert asked.value.status == 401
    expect(dialog.locator(".secret").first).to_be_visible()
    secret = dialog.locator(".secret").first.inner_text()
    dialog.get_by_role("button", name="Close").click()
    expect(page.get_by_label("API key")).to_be_visible()
    expect(page.get_by_text(secret)).to_have_count(0)


def test_drift_is_shown_in_ones_own_figures(page: Page, console: ConsoleStack) -> None:
    agent = new_agent(console.services)
    console.drift(agent)
    log_in(page, console, f"/agents/{agent.agent_id}")
    drift = page.get_by_role("region", name="Drift", exact=True)
    expect(drift).to_contain_text("Call rate ↑")
    expect(drift).to_contain_text("Model version")
    check(page, "drift")
