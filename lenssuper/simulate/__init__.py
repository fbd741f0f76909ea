"""Simulated observations: instruments, sources, mock lenses and galaxies, and random draws of them."""

from __future__ import annotations

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
from lenssuper.simulate.massive import MassiveGalaxy, hard_lenses, random_massive_galaxy
from lenssuper.simulate.mock import MockLens, mock_lens
from lenssuper.simulate.mockgalaxies import mock_galaxies, mock_galaxy
from lenssuper.simulate.psfs import AiryPSF, GaussianPSF, MoffatPSF, OpticalPSF
from lenssuper.simulate.random import benchmark_set, random_lens, random_mock, random_sersics, random_source
from lenssuper.simulate.sources import CompositeSource, GaussianSource, ImageSource, SersicSource, Source
from lenssuper.simulate.spirals import ClumpySpiral
from lenssuper.simulate.stamps import galaxy_stamp
from lenssuper.simulate.substructure import (
    AxionVortex,
    ColdSubhaloes,
    DarkMatter,
    NoSubstructure,
    Substructure,
)
from lenssuper.simulate.varied import (
    random_elliptical,
    random_field_galaxy,
    random_knotty_spiral,
    random_merger,
    random_ring_galaxy,
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
    "MassiveGalaxy",
    "MockLens",
    "MoffatPSF",
    "NoSubstructure",
    "OpticalPSF",
    "SersicSource",
    "Source",
    "Substructure",
    "benchmark_set",
    "galaxy_stamp",
    "hard_lenses",
    "mock_galaxies",
    "mock_galaxy",
    "mock_lens",
    "random_elliptical",
    "random_field_galaxy",
    "random_knotty_spiral",
    "random_lens",
    "random_massive_galaxy",
    "random_merger",
    "random_mock",
    "random_ring_galaxy",
    "random_sersics",
    "random_source",
]
