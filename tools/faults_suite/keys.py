"""Peers without a key, with a wrong one, with one that was taken away: nothing comes in, nothing goes out."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

from edge.bus.camera import Camera
from edge.bus.verdicts import VerdictInlet
from tests.daemon import test_secured as secured
from tests.lines import daemon_on
from tests.secured import peer, secure_line
from tools.faults_suite.outcome import Outcome, Say, Scale


def run(models: Path, folder: Path, scale: Scale, say: Say) -> Outcome:
    """What does not hold is an AssertionError."""
    folder.mkdir()
    config, rounds = secure_line(folder, models), scale.of(1, 1, 20)
    peer(config, "cam0", "camera")
    scada_keys = peer(config, "scada", "subscriber")
    with (
        daemon_on(config),
        closing(VerdictInlet(secured.verdicts(config), "small", scada_keys)) as scada,
        closing(Camera(secured.frames(config), "small", "cam0", curve=peer(config, "cam0"))) as camera,
    ):
        time.sleep(0.5)  # the subscription travels as well
        for number in range(rounds):
            _round(config, camera, scada)
            say(f"round {number + 1} of {rounds}")
    times = f"{rounds} times {len(secured.STRANGERS)} strangers, a raw peer, wrong roles, revoked keys"
    return Outcome(times, "nothing in, nothing out", "nothing in", [], {"rounds": rounds})


def _round(config: Path, camera: Camera, scada: VerdictInlet) -> None:
    """As the tests have it."""
    for who in secured.STRANGERS:
        secured.test_nothing_of_a_stranger_gets_in(config, camera, scada, who)
        secured.test_a_stranger_hears_nothing(config, camera, scada, who)
    secured.test_a_peer_that_skips_the_handshake_is_cut_off(config, camera, scada)
    secured.test_a_camera_may_not_listen_and_a_subscriber_may_not_send(config, camera, scada)
    secured.test_a_revoked_camera_is_shut_out_though_it_is_connected_and_comes_back_when_it_is_allowed(
        config, camera, scada
    )
    secured.test_a_revoked_subscriber_hears_no_more_though_it_is_connected_and_the_others_do(config, camera, scada)
