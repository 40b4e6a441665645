"""Networks as stored graphs, run by ONNX Runtime on a CPU: several times faster there, and without torch.

A graph is made from a loaded network, once for each side of the pictures, with the normalising inside it; it is kept
only if it gives what the network gives.
"""

import logging
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from io import BytesIO, StringIO
from typing import Any

import numpy as np

from retrieval import artifacts, provenance
from retrieval.encoders import devices, preprocessing
from retrieval.encoders.specs import EncoderSpec
from retrieval.roots import Roots

log = logging.getLogger(__name__)

Side = tuple[int, int]  # height and width of pictures as the network sees them

FOLDER = "graphs"  # under the cache
TOLERANCE = 1e-4  # of the largest feature: how far a graph may be from its network
_GRAPHS = 2  # raised when the code makes other graphs of the same network
_NOISE = 4  # pictures on which a graph is compared with its network
_PIXELS_AT_ONCE = 2**18  # what a core's caches hold of activations, measured: 5 pictures of 224, 64 of 64


@dataclass(frozen=True, eq=False)
class OnnxEncoder:
    """A stored graph as an Encoder of pictures of one side.

    Attributes:
        spec: What its network was built from.
        weights_digest: Of the weights in the graph.
        side: Height and width of the pictures that it takes.
        session: ONNX Runtime's, on one thread for each call.
        bytes: Of the graph.
        at_once: Calls of `embed` that may run side by side: one for each core, so that none waits for another.
        batch: Pictures of one call at which it is quickest.
        preparers: Threads that prepare pictures for the calls: none, each call's own thread does it.
    """

    spec: EncoderSpec
    weights_digest: str
    side: Side
    session: Any
    bytes: int
    at_once: int
    batch: int
    preparers: int = 0
    runtime: str = "onnx"
    device: str = "cpu"

    def embed(self, pictures: np.ndarray) -> np.ndarray:
        """Pictures as seen, uint8 [N, *side, 3], to raw features, float32 [N, dim]; for any number of threads."""
        return self.session.run(None, {"pictures": np.ascontiguousarray(pictures)})[0]


def fingerprint_of(spec: EncoderSpec, weights_digest: str, side: Side) -> str:
    """The key of staleness of a graph: all that makes the network, how it normalises, and the side.

    The versions that made it are recorded beside it: whatever they were, it was compared with its network.
    """
    normalised = preprocessing.normalisation(spec)
    return artifacts.fingerprint(
        graphs=_GRAPHS,
        architecture=(spec.library, spec.architecture),
        arguments=dict(spec.arguments),
        layout=asdict(spec.layout),
        steps=[asdict(step) for step in spec.steps],
        weights=weights_digest,
        normalised=(normalised.scale, normalised.mean, normalised.std),
        side=side,
    )


def stored(spec: EncoderSpec, weights_digest: str, side: Side, roots: Roots) -> OnnxEncoder | None:
    """The Encoder of a graph on disk, if it is there and sound; torch is not needed."""
    mark = fingerprint_of(spec, weights_digest, side)
    found = artifacts.load(roots.lookup, _key(spec, mark), fingerprint=mark)
    return None if found is None else _opened(spec, weights_digest, side, found.arrays["graph"].tobytes())


def convert(encoder: Any, side: Side, roots: Roots) -> OnnxEncoder | None:
    """Store the graph of a loaded network for pictures of one side; None, with a line in the log, where it is refused.

    Args:
        encoder: Of torch or Keras, on the CPU.
    """
    spec = encoder.spec
    log.info("%s is being converted for pictures of %d x %d.", spec.title, *side)
    try:
        graph = _exported(encoder, side)
        made = _opened(spec, encoder.weights_digest, side, graph)
        apart = difference(made, encoder, side)
    except Exception as error:  # noqa: BLE001 - the exporter raises what it likes, and torch serves as well
        log.warning("%s cannot be converted (%s: %s); torch runs it.", spec.title, type(error).__name__, error)
        return None
    if not apart <= TOLERANCE:
        log.warning("%s as a graph is %.1e from its network; torch runs it.", spec.title, apart)
        return None
    mark = fingerprint_of(spec, encoder.weights_digest, side)
    meta = {**provenance.versions(spec.library), **provenance.exporter(), "side": side, "difference": float(apart)}
    arrays = {"graph": np.frombuffer(graph, np.uint8)}
    artifacts.save(roots.cache, _key(spec, mark), arrays=arrays, fingerprint=mark, meta=meta)
    return made


def difference(made: OnnxEncoder, encoder: Any, side: Side) -> float:
    """How far a graph is from its network on seeded noise, relative to the largest feature."""
    noise = np.random.default_rng(0).integers(0, 256, (_NOISE, *side, 3), np.uint8)
    theirs = encoder.embed(noise)
    return float(np.abs(made.embed(noise) - theirs).max() / np.abs(theirs).max())


def _key(spec: EncoderSpec, mark: str) -> str:
    return f"{FOLDER}/{spec.name}/{mark}"


def _opened(spec: EncoderSpec, weights_digest: str, side: Side, graph: bytes) -> OnnxEncoder:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors, which are raised as well
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    batch = min(64, max(4, _PIXELS_AT_ONCE // (side[0] * side[1])))
    return OnnxEncoder(spec, weights_digest, side, session, len(graph), at_once=devices.cores(), batch=batch)


def _exported(encoder: Any, side: Side) -> bytes:
    """The graph of a network, any number of pictures by one side, without a word on the terminal."""
    import torch

    network = _whole(encoder).eval()
    noise = torch.zeros((2, *side, 3), dtype=torch.uint8)
    export = _traced if encoder.spec.library == "keras" else _captured
    with warnings.catch_warnings(), redirect_stdout(StringIO()), torch.inference_mode(False), torch.no_grad():
        warnings.simplefilter("ignore")  # of the exporter's own making, about its own future
        return export(network, noise)


def _captured(network: Any, pictures: Any) -> bytes:
    import torch

    shapes = ({0: torch.export.Dim.DYNAMIC},)
    program: Any = torch.onnx.export(network, (pictures,), dynamo=True, dynamic_shapes=shapes, verbose=False, **_NAMES)
    return program.model_proto.SerializeToString()


def _traced(network: Any, pictures: Any) -> bytes:
    """By the older exporter, which follows Keras' layers in a tenth of the time and to the same graph."""
    import torch

    stream = BytesIO()
    axes = {"pictures": {0: "n"}, "features": {0: "n"}}
    torch.onnx.export(network, (pictures,), stream, dynamo=False, dynamic_axes=axes, opset_version=17, **_NAMES)  # type: ignore[arg-type]
    return stream.getvalue()


_NAMES: dict[str, Any] = {"input_names": ["pictures"], "output_names": ["features"]}


def _whole(encoder: Any) -> Any:
    """The network from uint8 pictures as seen to features, as one torch module."""
    import torch

    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = encoder.network
            steps = preprocessing.arithmetic(preprocessing.normalisation(encoder.spec), _by_plane)
            self.operators: list[Callable] = [operate for operate, _ in steps]
            self.constants = torch.nn.ParameterList([torch.nn.Parameter(value, False) for _, value in steps])

        def forward(self, pictures: Any) -> Any:
            steps = tuple(zip(self.operators, self.constants, strict=True))
            planes = preprocessing.normalise(pictures.permute(0, 3, 1, 2).float(), steps)
            return encoder.graph(planes.permute(0, 2, 3, 1))

    return Whole()


def _by_plane(constant: np.ndarray) -> Any:
    """A constant of each channel for values [N, C, H, W]: ONNX Runtime normalises whole planes ten times as fast."""
    import torch

    return torch.from_numpy(constant.reshape(-1, 1, 1))
