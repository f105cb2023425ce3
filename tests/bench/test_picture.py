"""The picture is an SVG that draws what was measured."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from bench.picture import PANELS, WIDTH, picture
from bench.results import Results, Row

SVG = "{http://www.w3.org/2000/svg}"


def results(label: str = "CPU a request") -> Results:
    found = Results(["rainbowd", "nginx", "undici"])
    for key in PANELS:
        for place, peer in enumerate(found.peers, 1):
            found.put(Row(key, label, "µs"), peer, 0, 10.0 * place)
    return found


def test_there_is_a_bar_for_each_peer_in_each_panel() -> None:
    bars = ET.fromstring(picture(results())).findall(f"{SVG}rect")
    assert len(bars) == 3 * len(PANELS)


def test_bars_are_as_long_as_their_values_are_large() -> None:
    bars = ET.fromstring(picture(results())).findall(f"{SVG}rect")
    ours, nginx, undici = (float(bar.attrib["width"]) for bar in bars[:3])
    assert abs(nginx / ours - 2) < 0.01
    assert abs(undici / ours - 3) < 0.01
    assert undici < WIDTH


def test_text_is_escaped() -> None:
    root = ET.fromstring(picture(results("CPU & <memory>")))
    assert "CPU & <memory>, µs (shorter is better)" in {text.text for text in root.iter(f"{SVG}text")}


def test_rows_that_were_not_measured_are_left_out() -> None:
    found = results()
    for key in PANELS[1:]:
        del found.values[key]
    assert len(ET.fromstring(picture(found)).findall(f"{SVG}rect")) == 3


def test_nothing_measured_is_still_a_picture() -> None:
    assert not ET.fromstring(picture(Results(["rainbowd"]))).findall(f"{SVG}rect")


def test_ratios_are_the_table_s() -> None:
    found = results()
    for turn, (ours, nginx) in enumerate([(30.0, 10.0), (80.0, 20.0), (20.0, 10.0)]):
        found.values[PANELS[0]]["rainbowd"][turn:] = [ours]
        found.values[PANELS[0]]["nginx"][turn:] = [nginx]
    assert "30.0  (3.00x nginx)" in {text.text for text in ET.fromstring(picture(found)).iter(f"{SVG}text")}
