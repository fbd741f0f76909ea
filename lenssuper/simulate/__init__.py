"""Simulated observations: instruments, sources, mock lenses, random draws of them, and data sets."""

from __future__ import annotations

from lenssuper.simulate.dataset import LensDataset, read_dataset
from lenssuper.simulate.galaxies import ClumpySpiral
from lenssuper.simulate.images import ImageSources
from lenssuper.simulate.instruments import (
    EUCLID_VIS,
    HST_ACS_F814W,
    HST_WFC3_F160W,
    JWST_NIRCAM_F150W,
    JWST_NIRCAM_F444W,
    LSST_I,
    Instrument,
)
from lenssuper.simulate.items import LensItem, LensTruth
from lenssuper.simulate.makeset import write_dataset
from lenssuper.simulate.mock import MockLens, mock_lens
from lenssuper.simulate.psfs import AiryPSF, GaussianPSF, MoffatPSF, OpticalPSF
from lenssuper.simulate.random import benchmark_set, random_lens, random_mock, random_sersics, random_source
from lenssuper.simulate.sources import CompositeSource, GaussianSource, ImageSource, SersicSource, Source
from lenssuper.simulate.stamps import galaxy_stamp
from lenssuper.simulate.substructure import (
    AxionVortex,
    ColdSubhaloes,
    DarkMatter,
    NoSubstructure,
    Substructure,
)

__all__ = [
    "EUCLID_VIS",
    "HST_ACS_F814W",
    "HST_WFC3_F160W",
    "JWST_NIRCAM_F150W",
    "JWST_NIRCAM_F444W",
    "LSST_I",
    "AiryPSF",
    "AxionVortex",
    "ClumpySpiral",
    "ColdSubhaloes",
    "CompositeSource",
    "DarkMatter",
    "GaussianPSF",
    "GaussianSource",
    "ImageSource",
    "ImageSources",
    "Instrument",
    "LensDataset",
    "LensItem",
    "LensTruth",
    "MockLens",
    "MoffatPSF",
    "NoSubstructure",
    "OpticalPSF",
    "SersicSource",
    "Source",
    "Substructure",
    "benchmark_set",
    "galaxy_stamp",
    "mock_lens",
    "random_lens",
    "random_mock",
    "random_sersics",
    "random_source",
    "read_dataset",
    "write_dataset",
]
