"""Who has made a bundle, as far as its signature tells: what is taken, what is refused, what is said of it.

Hashes say that nothing was damaged; that it comes from where it should, only a signature by a trusted key does.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import BundleError, Remedy, UsageError, printable, program
from ..manifest import Manifest
from ..settings import read_settings
from .signature import Signature
from .trusted import mark_seen, read_store

_LONGEST_COMMENT = 200
_COPY_AGAIN = "Copy the bundle again from its source; do not use this copy."
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Origin:
    """What the signature of a bundle tells.

    key: id of the key that is said to have made it; None where there is none. name: what the user calls that key, and
    comment: what was signed with the manifest; both None where the key is not trusted, and so nothing was verified.
    newer: the release of the model that was opened before, where this one is older and that is allowed.
    """

    key: str | None = None
    name: str | None = None
    comment: str | None = None
    newer: int | None = None

    @property
    def signed_by(self) -> dict[str, str] | None:
        """Name and id of the trusted key that signed it; None where none did."""
        return None if self.name is None or self.key is None else {"name": self.name, "key": self.key}

    @property
    def in_words(self) -> str:
        """For people who look at a bundle."""
        if self.key is None:
            return "not signed"
        if self.name is None:
            return f"signed with the key {self.key}, which is not trusted here, so that nothing of it is verified"
        older = "" if self.newer is None else f", older than release {self.newer}, which was opened here before"
        return f"signed by {self.name}, key {self.key}" + (f" ({self.comment})" if self.comment else "") + older

    @property
    def remarks(self) -> tuple[str, ...]:
        """For every answer."""
        if self.key is None or self.name is not None:
            return ()
        return (f"The bundle is {self.in_words}.",)

    @property
    def warnings(self) -> tuple[str, ...]:
        """For every answer."""
        if self.newer is None:
            return ()
        return (f"The bundle is older than release {self.newer} of the same model, which was opened here before.",)


UNSIGNED = Origin()


def origin_of(manifest: bytes, signature: bytes | None, *, shown: Path) -> Origin:
    """What a signature says of a manifest.

    Args:
        manifest: its bytes, which are those to parse then.
        signature: its file's; None if there is none.

    Raises:
        BundleError: the signature is damaged or is not of this manifest by the trusted key that it names; or signatures
            are required, and there is none or its key is not trusted.
        BackendError: it is by a trusted key, and what verifies it is not installed.
        UsageError: the settings are wrong, or the trust store cannot be used.
    """
    required = _required()
    if signature is None:
        if required:
            raise BundleError(
                f"{shown}: not signed; {required}.",
                Remedy("Ask its makers for a signed one or, if they are you, sign it", command=_SIGN),
            )
        return UNSIGNED
    found = Signature.read(signature, shown=f"{shown}: its signature")
    key = read_store().key(found.id)
    if key is None:
        if required:
            raise BundleError(
                f"{shown}: signed with the key {found.key}, which is not trusted here; {required}.",
                Remedy("If that is a key of its makers, trust it", command=program("trust", "KEY.pub")),
            )
        return Origin(found.key)
    if not found.verifies(manifest, key.public()):
        raise BundleError(
            f"{shown}: altered: its signature names the key {found.key} of {key.name}, which has not signed this "
            "manifest.",
            _COPY_AGAIN,
        )
    return Origin(found.key, key.name, printable(found.comment.decode("utf-8", "replace"), _LONGEST_COMMENT))


def check_release(origin: Origin, manifest: Manifest, *, shown: Path) -> Origin:
    """Refuse a signed bundle that is older than what was opened of the same model and key, else note its release.

    Without it, whoever can put files in place could bring back a release that has a known fault: that is signed, too.

    Returns:
        the origin, which says so where an older one is allowed.

    Raises:
        BundleError: it is older, and that is not allowed.
        UsageError: as `origin_of`.
    """
    if origin.name is None or origin.key is None:
        return origin
    store = read_store()
    key = next((one for one in store.keys if one.public().name == origin.key), None)
    if key is None:
        return origin
    release, newest = manifest.release or 0, store.release(key, manifest.name)
    if release < newest:
        if not read_settings().allow_older_release:
            what = "says no release" if manifest.release is None else f"is release {release}"
            raise BundleError(
                f"{shown}: {manifest.name} {what}; release {newest}, signed with the same key, was opened here before.",
                Remedy("Use the newer one or, to go back, allow it", command="export MMCAF_ALLOW_OLDER_RELEASE=1"),
            )
        return replace(origin, newer=newest)
    if release > newest:
        try:
            mark_seen(key, manifest.name, release)
        except UsageError as failure:
            _log.warning("An older release of %s would not be refused later. %s", manifest.name, failure.problem)
    return origin


_SIGN = program("sign", "BUNDLE", "--key", "FILE")


def _required() -> str | None:
    """In words, why signatures are required; None where they are not."""
    settings = read_settings()
    if not settings.require_signature:
        return None
    by = settings.origins["require_signature"]
    return f"only bundles that a trusted key has signed are opened here (require_signature of {by})"
