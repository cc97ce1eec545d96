from __future__ import annotations

from typing import Any

from session.traffic import PageLoad, Traffic


def request(request_id: str, url: str, **more: Any) -> dict[str, Any]:
    return {"requestId": request_id, "timestamp": 10.0, "request": {"url": url, "method": "GET", "headers": {}}, **more}


def test_a_page_with_a_redirect_and_what_it_loads() -> None:
    traffic = Traffic()
    document = {"type": "Document", "frameId": "tab"}
    traffic.take("Network.requestWillBeSent", request("d", "http://a.test/old", **document), "tab")
    redirect = {"redirectResponse": {"status": 302, "encodedDataLength": 200}}
    traffic.take("Network.requestWillBeSent", request("d", "http://a.test/new", **document, **redirect), "tab")
    traffic.take("Network.responseReceived", {"requestId": "d", "response": {"status": 200}}, "tab")
    traffic.take("Network.requestWillBeSent", request("i", "http://a.test/i.png", type="Image", frameId="tab"), "tab")
    traffic.take("Network.loadingFinished", {"requestId": "d", "encodedDataLength": 1000}, "tab")
    traffic.take("Network.loadingFinished", {"requestId": "i", "encodedDataLength": 500}, "tab")
    load = traffic.take("Page.loadEventFired", {"timestamp": 10.25}, "tab")
    assert load == PageLoad("http://a.test/new", 250, 200)
    totals = traffic.totals
    assert (totals.pages_loaded, totals.http_requests, totals.bytes_received, totals.load_ms_total) == (1, 3, 1700, 250)


def test_what_is_no_page_of_the_web_is_not_counted() -> None:
    traffic = Traffic()
    for url in ("about:blank", "data:text/html,x", "blob:http://a.test/1", "chrome://newtab"):
        traffic.take("Network.requestWillBeSent", request(url, url, type="Document", frameId="tab"), "tab")
    assert traffic.take("Page.loadEventFired", {"timestamp": 11.0}, "tab") is None
    assert traffic.totals.as_dict() == dict.fromkeys(traffic.totals.as_dict(), 0)


def test_a_frame_that_two_sessions_report_counts_once_and_its_load_is_no_page() -> None:
    traffic = Traffic()
    sent = request("f", "http://b.test/", type="Document", frameId="frame")
    traffic.take("Network.requestWillBeSent", sent, "tab")
    traffic.take("Network.requestWillBeSent", sent, "")
    traffic.take("Network.loadingFinished", {"requestId": "f", "encodedDataLength": 100}, "")
    assert traffic.take("Page.loadEventFired", {"timestamp": 11.0}, "") is None
    assert traffic.take("Page.loadEventFired", {"timestamp": 11.0}, "tab") is None
    assert (traffic.totals.http_requests, traffic.totals.bytes_received, traffic.totals.pages_loaded) == (1, 100, 0)


def test_failures_count_once_and_what_came_before_them_counts() -> None:
    traffic = Traffic()
    traffic.take("Network.requestWillBeSent", request("a", "http://a.test/gone"), "tab")
    traffic.take("Network.responseReceived", {"requestId": "a", "response": {"status": 404}}, "tab")
    traffic.take("Network.dataReceived", {"requestId": "a", "encodedDataLength": 70}, "tab")
    traffic.take("Network.loadingFailed", {"requestId": "a", "canceled": False}, "tab")
    traffic.take("Network.requestWillBeSent", request("b", "http://refused.test/"), "tab")
    traffic.take("Network.loadingFailed", {"requestId": "b", "canceled": False}, "tab")
    traffic.take("Network.requestWillBeSent", request("c", "http://a.test/left"), "tab")
    traffic.take("Network.loadingFailed", {"requestId": "c", "canceled": True}, "tab")
    assert (traffic.totals.failed_requests, traffic.totals.bytes_received) == (2, 70)
