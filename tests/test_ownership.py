"""Who may change what the daemon trusts: ordinary checkouts pass, what a stranger may write does not."""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

import pytest

from edge.errors import ConfigError
from edge.ownership import check_secret, check_unchanged_by_others, strangers

ME = pwd.getpwuid(os.geteuid())
OWN_GROUP = grp.getgrgid(ME.pw_gid).gr_name == ME.pw_name
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    path = tmp_path / "line.toml"
    path.write_text("")
    return path


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o444, 0o755])
def test_what_its_owner_alone_may_change_is_trusted(path: Path, mode: int) -> None:
    path.chmod(mode)
    check_unchanged_by_others(path)


@pytest.mark.skipif(not OWN_GROUP, reason="this user has no group of its own")
def test_a_checkout_of_umask_002_is_trusted_where_the_group_is_the_users_own(path: Path) -> None:
    os.chown(path, -1, ME.pw_gid)
    os.chown(path.parent, -1, ME.pw_gid)
    path.chmod(0o664)
    path.parent.chmod(0o775)
    check_unchanged_by_others(path)


@needs_root
def test_a_file_of_another_group_that_may_write_it_is_refused(path: Path) -> None:
    os.chown(path, -1, 12_345)
    path.chmod(0o644)
    check_unchanged_by_others(path)
    path.chmod(0o664)
    with pytest.raises(ConfigError, match="group 12345"):
        check_unchanged_by_others(path)


@needs_root
def test_a_file_of_another_user_is_refused(path: Path) -> None:
    os.chown(path, 12_345, -1)
    with pytest.raises(ConfigError, match=r"line\.toml belongs to user 12345.*chown"):
        check_unchanged_by_others(path)


def test_a_folder_that_everyone_may_write_is_refused_unless_it_is_sticky(path: Path) -> None:
    path.parent.chmod(0o777)
    with pytest.raises(ConfigError, match="may be changed by everyone"):
        check_unchanged_by_others(path)
    path.parent.chmod(0o1777)
    check_unchanged_by_others(path)


def test_a_link_is_as_trusted_as_what_it_leads_to(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.toml"
    link.symlink_to(path)
    path.chmod(0o666)
    with pytest.raises(ConfigError, match=r"line\.toml"):
        check_unchanged_by_others(link)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
def test_a_secret_that_others_may_read_is_refused(path: Path, mode: int) -> None:
    path.chmod(0o400)
    check_secret(path)
    path.chmod(mode)
    with pytest.raises(ConfigError, match="chmod"):
        check_secret(path)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.key"):
        check_secret(tmp_path / "nowhere.key")


def test_this_checkout_is_trusted(repository: Path) -> None:
    assert not strangers((repository / "exported_models" / "line.toml").stat())
