"""Images too large for one device: their rows split over all devices, which exchange what they see of each other."""

from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Float

from lure_jax.inference.buckets import Size


class Placement:
    """Where a Fuser's arrays lie: on one device, or images by rows over all devices and the rest on each.

    The compiler makes of it what a convolution needs of its neighbours' rows, and sums over the whole image.

    Args:
      shard_rows: whether to use all devices.
      multiple: of the network, which divides the rows of each device.
    """

    def __init__(self, shard_rows: bool, multiple: int):
        self.devices = jax.device_count() if shard_rows else 1
        self._multiple = multiple * self.devices
        self._images = self._rest = None
        if shard_rows:
            mesh = jax.make_mesh((self.devices,), ("rows",), axis_types=(jax.sharding.AxisType.Auto,))
            self._images = NamedSharding(mesh, PartitionSpec(None, "rows"))
            self._rest = NamedSharding(mesh, PartitionSpec())

    def shape(self, shape: Size) -> Size:
        """The shape with as many rows more as it takes to give each device the same number."""
        return -(-shape[0] // self._multiple) * self._multiple, shape[1]

    def image(self, array: Float[np.ndarray, "B H W *C"]) -> Any:
        """Puts images of such a shape on the devices; what one device works on stays as it is."""
        return array if self._images is None else jax.device_put(array, self._images)

    def rest(self, tree: Any) -> Any:
        """Puts parameters on every device."""
        return jax.device_put(tree, self._rest)
