"""Places that are no warehouse, and writes that fail: one line that names the place and the reason."""

import errno
import os

import pytest

from joulemark.warehouse.errors import DiskFull, WarehouseError
from joulemark.warehouse.store.location import Warehouse


def refused(place):
    with pytest.raises(WarehouseError) as caught:
        Warehouse.at(place)
    text = str(caught.value)
    assert "give a folder" in text
    assert "\n" not in text
    return text


def test_a_file_is_no_warehouse(tmp_path):
    path = tmp_path / "records"
    path.write_text("not a folder")
    assert "is a file" in refused(path)
    assert "is a file" in refused(f"file://{path}")


@pytest.mark.parametrize("place", ["", "s3://"])
def test_a_place_without_a_name_is_refused(place):
    assert "names no place" in refused(place)


def test_an_unknown_kind_of_url_is_refused():
    assert "foo://x" in refused("foo://x")


def test_a_warehouse_need_not_exist_yet(tmp_path):
    assert not Warehouse.at(tmp_path / "later").exists()


def test_a_write_that_fails_says_why_in_the_systems_words(tmp_path):
    (tmp_path / "trials").write_text("a file in the way")
    with pytest.raises(WarehouseError) as caught:
        Warehouse.at(tmp_path).write("trials/a.json", b"x")
    whys = {os.strerror(errno.ENOTDIR), os.strerror(errno.EEXIST)}
    assert str(caught.value) in {f"cannot write {tmp_path / 'trials' / 'a.json'}: {why}" for why in whys}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_has_an_error_of_its_own_and_leaves_nothing(tmp_path):
    warehouse = Warehouse.at(tmp_path)

    def fill():
        with warehouse.writing("a.bin"), open("/dev/full", "wb", buffering=0) as full:
            full.write(b"x")

    with pytest.raises(DiskFull, match=r"no space left to write .*run the same command again"):
        fill()
    assert list(tmp_path.iterdir()) == []
