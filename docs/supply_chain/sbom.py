"""Write a CycloneDX bill of materials of an installation, with the bundle as a machine-learning model.

python docs/supply_chain/sbom.py -o mmcaf.cdx.json                    the base, and the demonstration's bundle
python docs/supply_chain/sbom.py -o FILE --extra text --bundle lung.mmcaf --supplier NAME --end-of-support 2031-12-31

Supplier and dates of support are the owner's to say: what is not given is left out, and the last line names it.
"""

import argparse
import ctypes
import json
from datetime import date
from importlib.metadata import PackageNotFoundError
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.contact import OrganizationalEntity
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packages import PROJECT, Package, installed
from packageurl import PackageURL

from mmcaf_cli.run import explain
from mmcaf_engine.bundle.bundle import Bundle, load_bundle
from mmcaf_engine.bundle.default import demo_bundle
from mmcaf_engine.capi.library import BESIDE, c_library
from mmcaf_engine.errors import BackendError, MmcafError
from mmcaf_engine.outputs import Output, check_writable, write_all

PROPERTIES = "mmcaf"

_VERSION_ALONE = 6
"""OPENSSL_VERSION_STRING of OpenSSL's crypto.h."""


def bill(extras: tuple[str, ...], bundle: Bundle, owner: dict[str, str]) -> str:
    """The bill as JSON, valid by the schema.

    Args:
        owner: what the owner says: supplier, support-start, end-of-support.

    Raises:
        PackageNotFoundError: a package of an extra is not installed.
        BundleError: a file of the bundle is missing or damaged.
    """
    found = installed(extras)
    packages = {name: _package(package) for name, package in found.items()}
    root = packages.pop(PROJECT)
    root.type = ComponentType.APPLICATION
    if "supplier" in owner:
        root.supplier = OrganizationalEntity(name=owner["supplier"])
    root.properties.update(_property(name, value) for name, value in owner.items() if name != "supplier")
    bom = Bom(components=packages.values())
    bom.metadata.component = root
    model = _model(bundle)
    bom.components.add(model)
    beside = _beside()
    bom.components.update(beside)
    everything = {PROJECT: root} | packages
    for name, package in found.items():
        below = [everything[one] for one in package.requires]
        bom.register_dependency(everything[name], [*below, model, *beside] if name == PROJECT else below)
    text = JsonV1Dot6(bom).output_as_string(indent=2)
    if (fault := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)) is not None:
        raise ValueError(f"the bill is not valid by the schema: {fault}")
    return text + "\n"


def _package(package: Package) -> Component:
    return Component(
        name=package.name,
        version=package.version,
        type=ComponentType.LIBRARY,
        bom_ref=package.name,
        purl=PackageURL("pypi", name=package.name, version=package.version),
        licenses=[LicenseFactory().make_from_string(package.licence)],
    )


def _beside() -> list[Component]:
    """What the C library links to of the system, in the versions at hand; nothing where it was not built."""
    try:
        c_library()
        crypto, zlib = (ctypes.CDLL(name) for name in BESIDE)
    except (BackendError, OSError):
        return []
    crypto.OpenSSL_version.restype = zlib.zlibVersion.restype = ctypes.c_char_p
    found = {
        "openssl": (crypto.OpenSSL_version(_VERSION_ALONE).decode(), "Apache-2.0"),
        "zlib": (zlib.zlibVersion().decode(), "Zlib"),
    }
    return [
        Component(
            name=name,
            version=version,
            type=ComponentType.LIBRARY,
            bom_ref=name,
            licenses=[LicenseFactory().make_from_string(licence)],
            properties=[_property("of", "the system, linked to by libmmcaf")],
        )
        for name, (version, licence) in found.items()
    ]


def _model(bundle: Bundle) -> Component:
    """A bundle by the SHA-256 of its manifest, which lists that of every file; all of them are compared first."""
    bundle.verify()
    manifest = bundle.manifest
    facts = {
        "intended-use": manifest.intended_use,
        "network": manifest.network.name,
        "labels": json.dumps(manifest.labels),
        "demonstration": str(manifest.demonstration).lower(),
    }
    return Component(
        name=manifest.name,
        version=manifest.version or str(manifest.release),
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=f"bundle:{manifest.name}",
        description=manifest.description,
        licenses=[LicenseFactory().make_from_string(manifest.licence)],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=bundle.sha256)],
        properties=[_property(name, value) for name, value in facts.items() if value],
        components=[
            Component(
                name=name,
                type=ComponentType.FILE,
                bom_ref=f"bundle:{manifest.name}/{name}",
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=entry.sha256)],
            )
            for name, entry in manifest.files.items()
        ],
    )


def _property(name: str, value: str) -> Property:
    return Property(name=f"{PROPERTIES}:{name}", value=value)


def main(arguments: list[str] | None = None) -> None:
    """Write the bill that the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    parser.add_argument("--extra", action="append", default=[], metavar="EXTRA", help="may be repeated")
    parser.add_argument("--bundle", type=Path, metavar="BUNDLE", help="default: the demonstration's")
    parser.add_argument("--supplier", metavar="NAME")
    parser.add_argument("--support-start", type=date.fromisoformat, metavar="DATE")
    parser.add_argument("--end-of-support", type=date.fromisoformat, metavar="DATE")
    parser.add_argument("--force", action="store_true", help="replace FILE")
    given = parser.parse_args(arguments)
    owner = {name: getattr(given, name.replace("-", "_")) for name in ("supplier", "support-start", "end-of-support")}
    said = {name: str(value) for name, value in owner.items() if value}
    output = Output("output", given.output)
    try:
        check_writable([output], inputs=[given.bundle], force=given.force)
        text = bill(tuple(given.extra), load_bundle(given.bundle or demo_bundle()), said)
        write_all([(output, text)], force=given.force)
    except MmcafError as error:
        parser.exit(error.exit_code, f"{explain(error)}\n")
    except PackageNotFoundError as error:
        parser.exit(6, f"{error.name} is not installed, so nothing is known of it\n")
    left = [f"--{name}" for name in owner if name not in said]
    print(f"{given.output}: valid CycloneDX 1.6" + (f"; not said by its owner: {', '.join(left)}" if left else ""))


if __name__ == "__main__":
    main()
