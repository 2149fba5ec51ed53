"""How fast the studio shows a frame: over HTTP, and in Chromium until it is in the picture.

The videos are 1080p, H.264 by x264, with a key frame every 250 frames and B-frames. In one, the camera moves, and the
whole picture with it; in the other, it stands on a tripod, and only some things move. They are made once. All is
measured right after the video was opened, and again when the studio has made its pictures ahead.
"""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from http.client import HTTPConnection
from pathlib import Path

import av
import cv2
import numpy as np
from made_studio import Studio, launching, opened, until

WIDTH, HEIGHT, NUM_FRAMES, RATE = 1920, 1080, 3000, 30
KEY_INTERVAL = 250
NUM_MEASURED = 40
SECONDS_STILL, MAX_SECONDS = 5, 120  # without a further picture that is made ahead, and of waiting for this
CAMERAS = {"moving": "a camera that moves", "fixed": "a camera on a tripod"}  # by the stems of the videos
NOISE = 3.0  # of the camera's sensor: the standard deviation in grey levels


@dataclass(frozen=True)
class Timing:
    """The times that one thing took.

    Attributes:
        name: What was measured.
        milliseconds: float64 [N].
        target: The most that the median should be, in milliseconds.
    """

    name: str
    milliseconds: np.ndarray
    target: float

    def line(self) -> str:
        """Return a line of the table."""
        median, high = np.median(self.milliseconds), np.quantile(self.milliseconds, 0.9)
        return f"{self.name:<52} {median:7.1f} {high:7.1f}   < {self.target:.0f}"


def scenes(num_frames: int, *, camera: str) -> Iterator[np.ndarray]:
    """Yield frames, uint8 [HEIGHT, WIDTH, 3]: a textured ground with discs that cross it, seen by one of CAMERAS."""
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, (HEIGHT * 2, WIDTH * 2, 3), dtype=np.uint8)
    ground = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 9), None, 20, 235, cv2.NORM_MINMAX)
    grain = generator.normal(0, NOISE, ground.shape).astype(np.int8)
    for number in range(num_frames):
        x, y = int(WIDTH / 2 * (1 + np.sin(number / 197))), int(HEIGHT / 2 * (1 + np.cos(number / 151)))
        frame = ground[y : y + HEIGHT, x : x + WIDTH].copy()
        if camera == "fixed":
            top, left = generator.integers(HEIGHT), generator.integers(WIDTH)
            frame = cv2.add(ground[:HEIGHT, :WIDTH], grain[top : top + HEIGHT, left : left + WIDTH], dtype=cv2.CV_8U)
        for disc in range(5):
            place = (number * (3 + disc) + disc * 400) % WIDTH, (number * (2 + disc) + disc * 190) % HEIGHT
            cv2.circle(frame, place, 60 + 20 * disc, (255 - 40 * disc, 40 * disc, 90), -1)
        cv2.putText(frame, str(number), (60, 140), cv2.FONT_HERSHEY_SIMPLEX, 4, (255, 255, 255), 8)
        yield frame


def make_video(path: Path) -> Path:
    """Write the video of the camera that the file's stem names, unless it is there."""
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(".partial.mp4")
    params = f"keyint={KEY_INTERVAL}:min-keyint={KEY_INTERVAL}:scenecut=0"
    with av.open(str(temporary), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "fast", "x264-params": params})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number, pixels in enumerate(scenes(NUM_FRAMES, camera=path.stem)):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    temporary.rename(path)
    return path


def describe(path: Path) -> str:
    """Describe a video of `make_video` in a line."""
    megabits = path.stat().st_size * 8 / (NUM_FRAMES / RATE) / 1e6
    return f"{CAMERAS[path.stem]}: 1080p, H.264, {megabits:.1f} Mbit/s, a key frame every {KEY_INTERVAL} frames"


def measure(studio: Studio, place: Path, stem: str) -> list[Timing]:
    """Measure a running studio of the data set `place` that has the video, over HTTP and in Chromium."""
    return [*measure_http(studio, place, stem), *measure_page(studio, place, stem)]


def measure_http(studio: Studio, place: Path, stem: str) -> list[Timing]:
    """Measure requests of frames at full size, on one connection."""
    connection = HTTPConnection("127.0.0.1", studio.port, timeout=60)
    path = f"/api/videos/{studio.ids()[stem]}/frames"

    def show(frame: int) -> None:
        connection.request("GET", f"{path}/{frame}")
        response = connection.getresponse()
        assert response.status == 200, response.read()
        response.read()

    def ask_as_a_page() -> None:
        studio.get("/api/status")
        time.sleep(1)

    show(0)
    timings = _measure(show, f"over HTTP, {WIDTH} pixels wide")
    seconds = _made_ahead(place, ask_as_a_page)
    connection.close()  # the studio has closed it meanwhile
    timings += _measure(show, f"over HTTP, {seconds:.0f} s later")
    connection.close()
    return timings


def measure_page(studio: Studio, place: Path, stem: str) -> list[Timing]:
    """Measure the page: from the change of the frame until it is in the picture."""
    with launching() as browser, opened(browser, studio.address) as page:
        until(page, "studio.video !== null")  # the page opens the first video by itself
        page.evaluate("id => studio.openVideo(id)", studio.ids()[stem])
        until(page, 'document.querySelector("#player canvas").hidden === false')
        script = """frame => new Promise((resolve) => {
          const label = document.querySelector("#player .number"), begin = performance.now();
          const observer = new MutationObserver(() => {
            if (label.dataset.frame !== String(frame)) return;
            observer.disconnect();
            resolve(performance.now() - begin);
          });
          observer.observe(label, { attributes: true });
          studio.setFrame(frame, "timeline");
        })"""

        def show(frame: int) -> float:
            return float(page.evaluate(script, frame))

        timings = _measure(show, "in Chromium, window of 1400 x 900")
        seconds = _made_ahead(place, lambda: page.wait_for_timeout(1000))
        return timings + _measure(show, f"in Chromium, {seconds:.0f} s later")


def _made_ahead(place: Path, wait: Callable[[], None]) -> float:
    """Wait until the studio makes no further pictures ahead. Returns the seconds until the last of them."""
    begin = time.monotonic()
    last, names = begin, set[str]()
    while time.monotonic() < min(last + SECONDS_STILL, begin + MAX_SECONDS):
        wait()
        now = {path.name for path in (place / ".studio" / "pictures").iterdir()}
        if now != names:
            last, names = time.monotonic(), now
    return last - begin


def _measure(show: Callable[[int], float | None], where: str) -> list[Timing]:
    """Show random frames, and after each of them the next one."""
    generator = random.Random(1)
    far: list[float] = []
    near: list[float] = []
    for _ in range(NUM_MEASURED):
        frame = generator.randrange(NUM_FRAMES - 1)
        for times, place in ((far, frame), (near, frame + 1)):
            begin = time.perf_counter()
            took = show(place)
            times.append(1000 * (time.perf_counter() - begin) if took is None else took)
            time.sleep(0.1)
    return [Timing(f"a frame by index, {where}", np.array(far), 150), Timing(f"the next, {where}", np.array(near), 40)]


def memory_mb(studio: Studio) -> float:
    """Return the most memory that the server has used, in MB."""
    status = Path(f"/proc/{studio.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
