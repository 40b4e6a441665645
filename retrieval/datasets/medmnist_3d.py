"""The six MedMNIST v2 datasets of volumes."""

from retrieval.datasets.medmnist_source import medmnist
from retrieval.datasets.specs import Dataset

MEDMNIST_3D: tuple[Dataset, ...] = (
    medmnist(
        "organmnist3d",
        title="OrganMNIST3D",
        about="Eleven organs of the trunk as CT volumes.",
        ndim=3,
        channels=1,
        classes=(
            "liver",
            "right kidney",
            "left kidney",
            "right femur",
            "left femur",
            "bladder",
            "heart",
            "right lung",
            "left lung",
            "spleen",
            "pancreas",
        ),
        counts=(971, 161, 610),
        md5={
            28: "a0c5a1ff56af4f155c46d46fbb45a2fe",
            64: "58a2205adf14a9d0a189cb06dc78bf10",
        },
    ),
    medmnist(
        "nodulemnist3d",
        title="NoduleMNIST3D",
        about="Lung nodules in chest CT, rated by radiologists; nodules of the middle rating are left out.",
        ndim=3,
        channels=1,
        classes=(
            "benign",
            "malignant",
        ),
        counts=(1158, 165, 310),
        md5={
            28: "8755a7e9e05a4d9ce80a24c3e7a256f3",
            64: "c47c5b7d457bf6332200d2ea6d64ecd8",
        },
    ),
    medmnist(
        "adrenalmnist3d",
        title="AdrenalMNIST3D",
        about="Shapes of adrenal glands drawn in abdominal CT: masks, not scans.",
        ndim=3,
        channels=1,
        classes=(
            "normal",
            "hyperplasia",
        ),
        counts=(1188, 98, 298),
        md5={
            28: "bbd3c5a5576322bc4cdfea780653b1ce",
            64: "17721accfe9fb005146a47d33bc54b2f",
        },
    ),
    medmnist(
        "fracturemnist3d",
        title="FractureMNIST3D",
        about="Broken ribs in chest CT, by kind of fracture.",
        ndim=3,
        channels=1,
        classes=(
            "buckle rib fracture",
            "nondisplaced rib fracture",
            "displaced rib fracture",
        ),
        counts=(1027, 103, 240),
        md5={
            28: "6aa7b0143a6b42da40027a9dda61302f",
            64: "f01d7e6316aedf4210da0da5b7437b42",
        },
    ),
    medmnist(
        "vesselmnist3d",
        title="VesselMNIST3D",
        about="Shapes of brain vessel segments from MR angiography, healthy or with an aneurysm.",
        ndim=3,
        channels=1,
        classes=(
            "healthy vessel",
            "aneurysm",
        ),
        counts=(1335, 191, 382),
        md5={
            28: "b41fd4f7e7e2feedddb201585ecafa1b",
            64: "6bb274a8846e1097066dcd64e2c4520f",
        },
    ),
    medmnist(
        "synapsemnist3d",
        title="SynapseMNIST3D",
        about="Synapses of one rat neuron under the electron microscope, excitatory or inhibitory.",
        ndim=3,
        channels=1,
        classes=(
            "inhibitory synapse",
            "excitatory synapse",
        ),
        counts=(1230, 177, 352),
        md5={
            28: "1235b78a3cd6280881dd7850a78eadb6",
            64: "43bd14ebf3af9d3dd072446fedc14d5e",
        },
    ),
)
