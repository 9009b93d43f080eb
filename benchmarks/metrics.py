"""Images a second of all fusion metrics: ours, a script as the public ones are, an honest separable one.

Run `python benchmarks/metrics.py --json metrics.json`. The images are random shapes: no data is needed. All three run
on the same core, so that no one is helped by threads the others do not use.
"""

import json
import os
import pathlib
import time

import click
import numpy as np
from scipy import ndimage, signal

CORE = min(os.sched_getaffinity(0))
NAMES = ("EN", "SD", "SF", "AG", "MI", "MI2", "SCD", "VIF", "Qabf", "SSIM", "SSIMc", "MSSSIM", "CC", "PSNR")


def gaussian(size, sd):
    taps = np.exp(-((np.arange(size) - size // 2) ** 2) / (2 * sd**2))
    return taps / taps.sum()


def full_window(x, vertical, horizontal, mode="valid"):
    """As the public scripts filter: one two-dimensional window."""
    return signal.convolve2d(x, np.outer(vertical, horizontal), mode=mode)


def separable(x, vertical, horizontal, mode="valid"):
    """One pass an axis, in C."""
    x = ndimage.convolve1d(x, vertical, axis=0, mode="constant")
    x = ndimage.convolve1d(x, horizontal, axis=1, mode="constant")
    rows, columns = len(vertical) // 2, len(horizontal) // 2
    return x if mode == "same" else x[rows : x.shape[0] - rows, columns : x.shape[1] - columns]


def entropy(f):
    p = np.bincount(f.astype(np.int64).ravel(), minlength=256) / f.size
    p = p[p > 0]
    return -(p * np.log2(p)).sum()


def mutual_information(x, y):
    joint = np.bincount((x.astype(np.int64) * 256 + y.astype(np.int64)).ravel(), minlength=65536)
    p = joint.reshape(256, 256) / x.size
    outer = p.sum(1, keepdims=True) * p.sum(0, keepdims=True)
    return (p[p > 0] * np.log(p[p > 0] / outer[p > 0])).sum()


def pearson(x, y):
    x, y = x - x.mean(), y - y.mean()
    return (x * y).sum() / np.sqrt((x**2).sum() * (y**2).sum())


def vifp(reference, distorted, blur):
    kept = total = 0.0
    for scale, size in enumerate((17, 9, 5, 3)):
        taps = gaussian(size, size / 5)
        window = lambda x: blur(x, taps, taps)  # noqa: B023, E731
        if scale:
            reference, distorted = window(reference)[::2, ::2], window(distorted)[::2, ::2]
        mean_r, mean_d = window(reference), window(distorted)
        var_r = np.maximum(window(reference**2) - mean_r**2, 0)
        var_d = np.maximum(window(distorted**2) - mean_d**2, 0)
        covariance = window(reference * distorted) - mean_r * mean_d
        gain = covariance / (var_r + 1e-10)
        rest = var_d - gain * covariance
        gain[var_r < 1e-10], rest[var_r < 1e-10] = 0, var_d[var_r < 1e-10]
        var_r[var_r < 1e-10] = 0
        gain[var_d < 1e-10], rest[var_d < 1e-10] = 0, 0
        rest[gain < 0] = var_d[gain < 0]
        gain, rest = np.maximum(gain, 0), np.maximum(rest, 1e-10)
        kept += np.log10(1 + gain**2 * var_r / (rest + 2)).sum()
        total += np.log10(1 + var_r / 2).sum()
    return kept / total


def edges(x, blur):
    gx, gy = blur(x, [1, 2, 1], [1, 0, -1], "same"), blur(x, [1, 0, -1], [1, 2, 1], "same")
    slope = np.divide(-gy, gx, out=np.zeros_like(gx), where=gx != 0)
    return np.hypot(gx, gy), np.where(gx == 0, np.pi / 2, np.arctan(slope))


def qabf(fused, sources, blur):
    strength_f, angle_f = edges(fused, blur)
    kept = total = 0.0
    for source in sources:
        strength, angle = edges(source, blur)
        larger, smaller = np.maximum(strength, strength_f), np.minimum(strength, strength_f)
        change = np.where(larger == smaller, larger, smaller / np.where(larger == 0, 1, larger))
        turn = 1 - abs(angle - angle_f) / (np.pi / 2)
        quality = 0.9994 / (1 + np.exp(-15 * (change - 0.5))) * 0.9879 / (1 + np.exp(-22 * (turn - 0.8)))
        kept, total = kept + (quality * strength).sum(), total + strength.sum()
    return kept / total


def ssim_terms(x, y, taps, data_range, blur, sample=1.0):
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    window = lambda z: blur(z, taps, taps)  # noqa: E731
    mx, my = window(x), window(y)
    vx, vy, cov = (
        sample * v for v in (window(x * x) - mx**2, window(y * y) - my**2, window(x * y) - mx * my)
    )
    return (2 * mx * my + c1) / (mx**2 + my**2 + c1), (2 * cov + c2) / (vx + vy + c2)


def ms_ssim(x, y, blur):
    product = 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        luminance, structure = ssim_terms(x, y, gaussian(11, 1.5), 255, blur)
        product *= max((luminance * structure if scale == 4 else structure).mean(), 0) ** weight
        h, w = x.shape[0] // 2, x.shape[1] // 2
        x, y = (z[: 2 * h, : 2 * w].reshape(h, 2, w, 2).mean((1, 3)) for z in (x, y))
    return product


def evaluate(fused, infrared, visible, blur):
    """Returns the fourteen metrics of one image in double precision, filters by `blur`."""
    f, a, b = (np.float64(x) for x in (fused, infrared, visible))
    gy, gx = np.gradient(f)
    shared = mutual_information(f, a) + mutual_information(f, b)
    wang = [np.prod(ssim_terms(f, s, gaussian(11, 1.5), 255, blur), 0).mean() for s in (a, b)]
    box = np.full(7, 1 / 7)
    script = [np.prod(ssim_terms(f, s, box, 2, blur, 49 / 48), 0).mean() for s in (a, b)]
    error = (((f - a) ** 2).mean() + ((f - b) ** 2).mean()) / 2
    return {
        "EN": entropy(f),
        "SD": f.std(),
        "SF": np.sqrt((np.diff(f, axis=0) ** 2).mean() + (np.diff(f, axis=1) ** 2).mean()),
        "AG": np.sqrt((gx**2 + gy**2) / 2).mean(),
        "MI": shared,
        "MI2": shared / np.log(2),
        "SCD": pearson(f - b, a) + pearson(f - a, b),
        "VIF": vifp(a, f, blur) + vifp(b, f, blur),
        "Qabf": qabf(f, (a, b), blur),
        "SSIM": sum(wang) / 2,
        "SSIMc": sum(script),
        "MSSSIM": (ms_ssim(f, a, blur) + ms_ssim(f, b, blur)) / 2,
        "CC": (pearson(f, a) + pearson(f, b)) / 2,
        "PSNR": 10 * np.log10(f.max() ** 2 / error),
    }


def scene(rng, height, width):
    x = ndimage.gaussian_filter(rng.standard_normal((height, width)), rng.uniform(1, 6))
    x = x / x.std() + 0.1 * rng.standard_normal(x.shape)
    return np.round(255 * (x - x.min()) / np.ptp(x)).astype(np.float32)


def seconds(run, images):
    """Returns the median seconds an image (another process may disturb some) and the values."""
    times, values = [], []
    for image in images:
        start = time.perf_counter()
        values.append(run(*image))
        times.append(time.perf_counter() - start)
    return float(np.median(times)), values


@click.command()
@click.option("--images", default=30, show_default=True)
@click.option("--height", default=480, show_default=True)
@click.option("--width", default=640, show_default=True)
@click.option("--json", "json_file", type=click.Path(path_type=pathlib.Path), help="Write the numbers here.")
def main(images, height, width, json_file):
    os.sched_setaffinity(0, {CORE})  # before JAX starts its threads
    import jax

    from lure_jax.metrics.fusion import evaluate_fused

    def ours(*image):
        return jax.device_get(evaluate_fused(*(x[None] for x in image)))

    rng = np.random.default_rng(0)
    sources = [[scene(rng, height, width) for _ in range(2)] for _ in range(images)]
    data = [(np.maximum(a, b), a, b) for a, b in sources]
    start = time.perf_counter()
    ours(*data[0])
    first = time.perf_counter() - start

    runs = {
        "lure_jax": ours,
        "script (convolve2d)": lambda *image: evaluate(*image, full_window),
        "separable numpy": lambda *image: evaluate(*image, separable),
    }
    timed = {name: seconds(run, data) for name, run in runs.items()}
    mine, values = timed["lure_jax"]
    truth = timed["separable numpy"][1]
    difference = max(abs(v[k][0] / t[k] - 1) for v, t in zip(values, truth, strict=True) for k in NAMES)
    report = {
        "image": [height, width],
        "images": images,
        "compile_seconds": first - mine,
        "largest_relative_difference": float(difference),
        "methods": {},
    }
    print(f"{'':22}images/s   ours is    break-even images with {first - mine:.1f} s of compile")
    for name, (each, _) in timed.items():
        even = None if each <= mine else int(np.ceil((first - mine) / (each - mine)))
        report["methods"][name] = {"images_per_second": 1 / each, "ratio": each / mine, "break_even": even}
        print(f"{name:22}{1 / each:8.2f}  {each / mine:7.1f} x   {'' if name == 'lure_jax' else even}")
    print(f"largest relative difference to float64 numpy over all metrics: {difference:.1e}")
    if json_file:
        temporary = json_file.with_suffix(".part")
        temporary.write_text(json.dumps(report, indent=1) + "\n")
        temporary.replace(json_file)


if __name__ == "__main__":
    main()
