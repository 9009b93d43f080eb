"""Videos in, videos out: frames and times, sound, and what happens when something goes wrong."""

import signal
import sys
from fractions import Fraction

import numpy as np
import pytest
from click.testing import CliRunner
from random_model import save_random_model

from lure_jax.cli import main
from lure_jax.data import tonemap
from lure_jax.inference import images, video
from lure_jax.inference.frames import Frame, VideoError, matched, open_footage
from lure_jax.inference.fuser import Fuser

av = pytest.importorskip("av")
SIZE = (64, 96)


def make(path, frames, fps=10, sound="", pixels="yuv420p", codec="libx264", turn=None):
    """A video of uint8 or uint16 frames, with a tone if a codec for it is given."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options={"crf": "5"} if codec == "libx264" else {})
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], pixels
        if turn:
            stream.set_display_matrix(turn)
        tone = container.add_stream(sound, rate=48000, layout="mono") if sound else None
        kind = "rgb24" if frames[0].ndim == 3 else "gray" if frames[0].dtype == np.uint8 else "gray16le"
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format=kind)
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(stream.encode(frame))
            if tone:
                times = (np.arange(48000 // fps) + number * 48000 // fps) / 48000
                wave = (0.3 * np.sin(2 * np.pi * 440 * times) * 32767).astype(np.int16)
                block = av.AudioFrame.from_ndarray(wave[None], format="s16", layout="mono")
                block.sample_rate, block.pts = 48000, number * 48000 // fps
                container.mux(tone.encode(block))
        container.mux(stream.encode())
        if tone:
            container.mux(tone.encode())
    return path


def levels(count, channels=3, size=SIZE):
    """Frames that can be told apart by their brightness, 10 levels a frame."""
    shape = (*size, channels) if channels > 1 else size
    return [np.full(shape, 40 + 10 * number, np.uint8) for number in range(count)]


def look(path):
    with av.open(str(path)) as container:
        frames = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        sound = [bytes(packet) for packet in container.demux(audio=0) if packet.size] if container.streams.audio else []
    return frames, sound


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_random_model(tmp_path_factory.mktemp("video") / "model")


class Shows:
    """In the place of the stabiliser: shows one of the frames it is given, and may do something at the third."""

    def __init__(self, modality="visible", at_third=lambda: None):
        self._modality, self._at_third, self._seen = modality, at_third, 0

    def __call__(self, fuser, prompt, average):
        return self._frame

    def _frame(self, frames):
        self._seen += 1
        if self._seen == 3:
            self._at_third()
        return frames[self._modality]


@pytest.fixture
def pair(tmp_path):
    return (
        make(tmp_path / "v.mp4", levels(8), sound="aac"),
        make(tmp_path / "i.mkv", levels(8, 1), pixels="gray", codec="ffv1"),
    )


def _lure(*arguments):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def _fuse(model, pair, output, *more):
    paths = ("--visible", pair[0], "--infrared", pair[1], "--output", output)
    return _lure("fuse", *paths, "--model", model, *more)


def test_a_video_is_fused_frame_by_frame_with_its_times_and_sound(model, pair, tmp_path):
    result = _fuse(model, pair, tmp_path / "new" / "o.mp4", "--prompt", "clean", "--average", "1")
    assert result.exit_code == 0 and "8 frames written" in result.output, result.output
    frames, sound = look(tmp_path / "new" / "o.mp4")
    assert [time for time, _ in frames] == pytest.approx([0.1 * number for number in range(8)])
    fuser = Fuser.load(model)
    fused = fuser.fuse(look(pair[0])[0][0][1], levels(8, 1)[0], "clean")
    blocks = [image.reshape(8, 8, 12, 8, 3).mean((1, 3, 4)) for image in (frames[0][1], fused)]
    assert np.abs(blocks[0] - blocks[1]).max() < 5 and abs(fused.mean() - 40) > 20  # single pixels suffer in H.264
    assert [len(s) for s in look(pair[0])[1]] and sound == look(pair[0])[1][-len(sound) :]
    assert len(look(pair[0])[1]) - len(sound) <= 1
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["o.mp4"]


def test_what_a_video_shows_is_what_was_put_in(model, monkeypatch, tmp_path):
    """Colours through decoding and encoding, odd sides, and a turned camera."""
    colours = np.zeros((61, 95, 3), np.uint8)
    colours[:30, :40], colours[:30, 40:], colours[30:, :40] = (200, 30, 40), (20, 180, 60), (60, 70, 210)
    visible = make(tmp_path / "v.mkv", [colours] * 3, codec="ffv1", pixels="bgr0")
    infrared = make(tmp_path / "i.mkv", levels(3, 1, (61, 95)), codec="ffv1", pixels="gray")
    monkeypatch.setattr(video, "Steady", Shows())
    told = []
    video.fuse_video(visible, infrared, tmp_path / "o.mp4", model=model, tell=told.append)
    shown = look(tmp_path / "o.mp4")[0][1][1]
    assert shown.shape == (62, 96, 3) and "61" in told[0]
    for place in (slice(5, 25), slice(5, 35)), (slice(5, 25), slice(45, 90)), (slice(35, 58), slice(5, 35)):
        assert np.abs(shown[place].mean((0, 1)) - colours[place][0, 0]).max() < 6


def test_frames_are_matched_by_time(model, monkeypatch, pair, tmp_path):
    monkeypatch.setattr(video, "Steady", Shows("infrared"))
    told = []
    summary = video.fuse_video(*pair, tmp_path / "o.mkv", model=model, offset=0.3, tell=told.append)
    frames, _ = look(tmp_path / "o.mkv")
    shown = [round((image.mean() - 40) / 10) for _, image in frames]
    assert shown[:5] == [3, 4, 5, 6, 7] and summary.written == len(frames) and summary.unmatched >= 1
    assert "have no partner" in told[0]
    with pytest.raises(VideoError, match="No frame of .* has a partner .* --offset 100"):
        video.fuse_video(*pair, tmp_path / "p.mkv", model=model, offset=100.0)
    assert not (tmp_path / "p.mkv").exists()


def test_matching_takes_the_nearest_of_two_rates():
    def clock(rate, count, start=0.0):
        return [Frame(start + k / rate, np.array(k)) for k in range(count)]

    found = [(int(v.image), i and int(i.image)) for v, i in matched(clock(30, 12), clock(9, 4), 0.0, 1 / 9)]
    assert found == [(k, min(3, round(k * 9 / 30))) for k in range(12)]
    late = list(matched(clock(10, 5), clock(10, 5, start=0.2), 0.0, 0.1))
    assert [i and int(i.image) for _, i in late] == [None, 0, 0, 1, 2]
    assert [i for _, i in matched(clock(10, 5), [], 0.0, 0.1)] == [None] * 5


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_video_plays(model, monkeypatch, pair, tmp_path, number):
    monkeypatch.setattr(video, "Steady", Shows(at_third=lambda: signal.raise_signal(number)))
    before = signal.getsignal(number)
    result = _fuse(model, pair, tmp_path / "o.mp4")
    assert result.exit_code == 128 + number and "holds 3 frames and plays" in result.output
    assert len(look(tmp_path / "o.mp4")[0]) == 3 and signal.getsignal(number) == before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_an_input_that_breaks_off_leaves_the_frames_until_there(model, monkeypatch, pair, tmp_path):
    def fail():
        raise VideoError("v.mp4 cannot be read on after frame 2 (bad data).")

    monkeypatch.setattr(video, "Steady", Shows(at_third=fail))
    result = _fuse(model, pair, tmp_path / "o.mp4")
    assert result.exit_code == 2 and "holds the 2 frames until there" in result.output
    assert len(look(tmp_path / "o.mp4")[0]) == 2


def test_folders_become_a_video_if_the_output_is_one(model, tmp_path):
    for number, (colour, grey) in enumerate(zip(levels(3), levels(3, 1), strict=True)):
        images.write(tmp_path / "v" / f"{number:03}.png", colour)
        images.write(tmp_path / "i" / f"{number:03}.png", grey)
    result = _fuse(model, (tmp_path / "v", tmp_path / "i"), tmp_path / "o.webm", "--fps", "5")
    assert result.exit_code == 0, result.output
    assert [time for time, _ in look(tmp_path / "o.webm")[0]] == pytest.approx([0, 0.2, 0.4], abs=2e-3)


def test_a_video_of_one_camera_is_restored(model, pair, tmp_path):
    result = _lure("restore", "--input", pair[1], "--modality", "infrared", "--output", tmp_path / "o.mkv",
                   "--model", model)  # fmt: skip
    assert result.exit_code == 0 and "8 frames" in result.output
    assert look(tmp_path / "o.mkv")[1] == []


def test_thermal_videos_keep_their_bits_and_turned_ones_stand_upright(tmp_path):
    ramp = np.linspace(7000, 9000, 64 * 96).reshape(SIZE).astype(np.uint16)
    deep = make(tmp_path / "i.mkv", [ramp], codec="ffv1", pixels="gray16le")
    deep = open_footage(deep, "infrared", 25, tonemap.percentile)
    np.testing.assert_array_equal(next(iter(deep)).image, ramp)
    picture = np.zeros((*SIZE, 3), np.uint8)
    picture[:20] = 255  # above
    quarter = [0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30]  # the matrix of a clockwise quarter turn
    turned = open_footage(make(tmp_path / "v.mp4", [picture], turn=quarter), "visible", 25, tonemap.percentile)
    image = next(iter(turned)).image
    assert turned.size == image.shape[:2] == SIZE[::-1]
    assert image[:, -10:].mean() > 240 and image[:, :40].mean() < 15  # what was above is to the right


def test_sound_that_does_not_fit_is_left_out_and_told(model, monkeypatch, pair, tmp_path):
    monkeypatch.setattr(video, "Steady", Shows())
    told = []
    video.fuse_video(*pair, tmp_path / "o.webm", model=model, tell=told.append)
    assert len(look(tmp_path / "o.webm")[0]) == 8 and look(tmp_path / "o.webm")[1] == []
    assert "aac" in told[0]


def test_complaints_are_one_sentence(model, pair, tmp_path):
    small = make(tmp_path / "s.mkv", levels(2, 1, (32, 48)), pixels="gray", codec="ffv1")
    (tmp_path / "text.mp4").write_text("a text")
    (tmp_path / "folder").mkdir()
    existing = make(tmp_path / "e.mp4", levels(2))
    for inputs, output, words in (
        ((pair[0], small), "o.mp4", ("96x64", "48x32", "--align")),
        ((tmp_path / "text.mp4", pair[1]), "o.mp4", ("text.mp4", "cannot be read as a video")),
        ((pair[0], tmp_path / "gone.mp4"), "o.mp4", ("gone.mp4 does not exist",)),
        ((pair[0], tmp_path / "folder"), "o.mp4", ("folder holds no image",)),
        (pair, "o.png", (".mp4, .mov", "inputs are videos")),
        (pair, existing.name, ("already exists", "--overwrite")),
        (pair, pair[0].name, ("is one of the inputs",)),
    ):
        result = _fuse(model, inputs, tmp_path / output)
        assert result.exit_code == 2 and len(result.output.strip().splitlines()) == 1, result.output
        for word in words:
            assert word in result.output, result.output
    assert not (tmp_path / "o.mp4").exists()


def test_without_pyav_one_sentence_says_how_to_get_it(model, pair, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    result = _fuse(model, pair, tmp_path / "o.mp4")
    assert result.exit_code == 2 and "pip install 'lure-jax[video]'" in result.output
