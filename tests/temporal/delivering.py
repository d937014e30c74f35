"""The shop's app, whose workers deliver to Temporal."""

from __future__ import annotations

import os

import shop

import mirepoix.temporal

mirepoix.temporal.install(shop.app, os.environ["TEMPORAL_ADDRESS"])
