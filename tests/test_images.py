"""Pictures as arrays: what every kind of file becomes, and what is said of those that are none."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest

from checkerjax.images import Photograph, package_photographs, read_folder, tiles

Image = pytest.importorskip("PIL.Image")

GREY = np.array([[0, 128, 7], [255, 64, 200]], np.uint8)


def _repeated(grey):
    return np.repeat(grey[..., None], 3, axis=-1).astype(np.float64)


@pytest.fixture
def colour(rng):
    return rng.integers(256, size=(5, 7, 3), dtype=np.uint8)


def _only(folder):
    (photograph,) = read_folder(folder)
    return photograph


def test_colour_is_read_as_stored(tmp_path, colour):
    Image.fromarray(colour).save(tmp_path / "a.png")
    photograph = _only(tmp_path)
    assert photograph.name == "a.png"
    assert photograph.pixels.dtype == np.float32
    # One division in float32.
    np.testing.assert_allclose(photograph.pixels, colour / 255.0, rtol=2e-7)


def test_jpeg_is_read(tmp_path):
    Image.fromarray(np.full((16, 16, 3), (200, 100, 50), np.uint8)).save(tmp_path / "a.JPG", quality=95)
    # A colour that is constant survives up to the rounding of its YCbCr values: 3 steps of 255 at most.
    np.testing.assert_allclose(_only(tmp_path).pixels, np.full((16, 16, 3), (200, 100, 50)) / 255, atol=3 / 255)


def _palette():
    return Image.fromarray(np.stack([GREY] * 3, -1)).quantize(8)


KINDS = {
    "grey": (Image.fromarray(GREY), GREY / 255),
    "grey and alpha": (Image.fromarray(np.stack([GREY, 255 - GREY], -1)), GREY / 255),
    "colour and alpha": (Image.fromarray(np.stack([GREY, GREY, GREY, 255 - GREY], -1)), GREY / 255),
    "black and white": (Image.fromarray(GREY > 100), (GREY > 100) * 1.0),
    "palette": (_palette(), GREY / 255),
    "16 bits": (Image.fromarray(GREY.astype(np.uint16) * 257 + 3), np.minimum(GREY * 257.0 + 3, 65535) / 65535),
}


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_picture_becomes_three_channels_in_0_1(tmp_path, kind, suffix):
    picture, expected = KINDS[kind]
    if kind == "16 bits":
        values = np.array([[0, 1, 300], [65535, 256, 40000]], np.uint16)
        picture, expected = Image.fromarray(values), values / 65535.0
    picture.save(tmp_path / f"a{suffix}")
    pixels = _only(tmp_path).pixels
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(pixels, _repeated(expected), rtol=2e-7)


def test_a_palette_with_transparency_is_read_without_a_warning(tmp_path):
    _palette().save(tmp_path / "a.png", transparency=bytes([0, 16, 255, 255]))
    np.testing.assert_allclose(_only(tmp_path).pixels, _repeated(GREY / 255), rtol=2e-7)


@pytest.mark.parametrize("values", [GREY.astype(np.int32) * 9000, GREY.astype(np.float32)])
def test_samples_without_a_stated_range_are_refused(tmp_path, values):
    Image.fromarray(values).save(tmp_path / "deep.tif")
    with pytest.raises(
        ValueError, match=r"deep\.tif' cannot be read as a picture: its samples .* have no stated range"
    ):
        read_folder(tmp_path)


def test_a_folder_is_read_in_order_of_names_and_not_below(tmp_path, colour):
    for name in ("b.png", "a.jpeg", "c.webp", "below/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(colour).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not a picture")
    (tmp_path / "folder.png").mkdir()
    assert [p.name for p in read_folder(tmp_path)] == ["a.jpeg", "b.png", "c.webp"]
    assert [p.name for p in read_folder(str(tmp_path / "below"))] == ["d.png"]


@pytest.mark.parametrize("damage", ["text", "truncated", "empty"])
def test_a_broken_picture_is_named(tmp_path, rng, damage):
    good = tmp_path / "a.png"
    Image.fromarray(rng.integers(256, size=(40, 40, 3), dtype=np.uint8)).save(good)
    whole = good.read_bytes()
    (tmp_path / "b.png").write_bytes(
        {"text": b"no picture", "truncated": whole[: len(whole) // 2], "empty": b""}[damage]
    )
    with pytest.raises(ValueError, match=r"read_folder: '.*b\.png' cannot be read as a picture: ") as raised:
        read_folder(tmp_path)
    assert "\n" not in str(raised.value)


def test_places_without_pictures_are_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ValueError, match=r"holds no picture \(\.png, \.jpg"):
        read_folder(tmp_path)
    for place in (tmp_path / "none", tmp_path / "notes.txt"):
        with pytest.raises(ValueError, match="is not a folder"):
            read_folder(place)


def test_package_photographs_are_everyday_scenes_in_colour():
    pytest.importorskip("skimage")
    found = package_photographs()
    assert {p.name: p.pixels.shape for p in found} == {
        "astronaut.png": (512, 512, 3),
        "coffee.png": (400, 600, 3),
        "chelsea.png": (300, 451, 3),
        "rocket.jpg": (427, 640, 3),
    }
    for _, pixels in found:
        assert pixels.dtype == np.float32
        assert 0 <= pixels.min() < 0.1 < 0.7 < pixels.max() <= 1
        assert (pixels[..., 0] != pixels[..., 2]).mean() > 0.3  # coloured
    assert tiles(found, 64).shape == (64 + 54 + 28 + 60, 64, 64, 3)


def test_missing_packages_are_named_with_the_way_to_get_them(tmp_path, monkeypatch, colour):
    Image.fromarray(colour).save(tmp_path / "a.png")
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "skimage" else find(name, *rest)
    )
    with pytest.raises(ModuleNotFoundError, match=r"come with scikit-image.*checkerjax\[experiments\]"):
        package_photographs()
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ModuleNotFoundError, match=r"read with Pillow.*checkerjax\[analysis\]"):
        read_folder(tmp_path)


@pytest.mark.parametrize(("size", "stride"), [(4, None), (4, 2), (3, 5), (1, None), (9, None)])
def test_tiles_lie_on_a_grid(rng, size, stride):
    photographs = [Photograph(str(n), rng.random((n, n + 5, 3)).astype(np.float32)) for n in (9, 12)]
    step = size if stride is None else stride
    expected = []
    for _, pixels in photographs:
        top = 0
        while top + size <= pixels.shape[0]:
            left = 0
            while left + size <= pixels.shape[1]:
                expected.append(pixels[top : top + size, left : left + size])
                left += step
            top += step
    found = tiles(photographs, size, stride=stride)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array(expected))


def test_photographs_smaller_than_a_tile_are_left_out(rng):
    small, large = (Photograph(name, rng.random((n, n, 3))) for name, n in (("small", 3), ("large", 8)))
    assert tiles([small, large], 8).shape == (1, 8, 8, 3)
    with pytest.raises(ValueError, match=r"tiles: no photograph is as large as a 8x8 tile; got small 3x3\."):
        tiles([small], 8)
    with pytest.raises(ValueError, match=r"got none\."):
        tiles([], 8)


@pytest.mark.parametrize(
    ("size", "stride", "error", "message"),
    [
        (0, None, ValueError, "tiles: size must be at least 1; got 0"),
        (-2, None, ValueError, "tiles: size must be at least 1; got -2"),
        (1.5, None, TypeError, "tiles: size must be an int; got 1.5"),
        (2, 0, ValueError, "tiles: stride must be at least 1; got 0"),
        (2, -1, ValueError, "tiles: stride must be at least 1; got -1"),
        (2, "2", TypeError, "tiles: stride must be an int; got '2'"),
    ],
)
def test_bad_tile_sizes_are_refused(size, stride, error, message):
    with pytest.raises(error, match=message):
        tiles([Photograph("a", np.zeros((4, 4, 3), np.float32))], size, stride=stride)
