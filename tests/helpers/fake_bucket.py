"""A bucket in a local folder: `gs://` by the interfaces that a real one is reached by.

`install` puts it behind fsspec, by which `etils.epath` and so ssljax and orbax read and
write small files, and behind the paths that orbax gives to TensorStore. It has what
distinguishes a bucket from a disk: an object appears whole when it is closed, nothing
is appended, folders exist only while they have objects, and a folder is moved object by
object.

It cannot show what a network does (errors, time-outs, credentials), and TensorStore
writes its files as on a disk, by its driver of files.
"""

import io
import os
import shutil
import uuid
from pathlib import Path

import fsspec
from fsspec.spec import AbstractFileSystem

FOLDER = "SSLJAX_FAKE_BUCKET"
"""Environment variable, for subprocesses too: a local folder with a folder a bucket."""


class _Object(io.BytesIO):
    """What is written; it appears when it is closed."""

    def __init__(self, place):
        super().__init__()
        self.place = place

    def close(self):
        if not self.closed:
            self.place.parent.mkdir(parents=True, exist_ok=True)
            whole = self.place.with_name(f".{uuid.uuid4().hex}.part")
            whole.write_bytes(self.getvalue())
            whole.replace(self.place)
        super().close()


class FakeBucket(AbstractFileSystem):
    protocol = ("gs", "gcs", "s3")
    cachable = False

    def place(self, path):
        return Path(os.environ[FOLDER], self._strip_protocol(path))

    def info(self, path, **options):
        place = self.place(path)
        name = self._strip_protocol(path)
        if place.is_file():
            facts = place.stat()
            return {"name": name, "size": facts.st_size, "type": "file"} | {
                "mtime": facts.st_mtime
            }
        if any(each.is_file() for each in place.rglob("*")):
            return {"name": name, "size": 0, "type": "directory"}
        raise FileNotFoundError(path)

    def ls(self, path, detail=True, **options):
        found = self.info(path)
        if found["type"] == "directory":
            inside = sorted(self.place(path).iterdir())
            names = [f"{found['name']}/{each.name}" for each in inside]
            names = [name for name in names if not name.endswith(".part")]
            listed = [self.info(name) for name in names if self.exists(name)]
        else:
            listed = [found]
        return listed if detail else [each["name"] for each in listed]

    def _open(self, path, mode="rb", **options):
        if mode == "rb":
            self.info(path)
            return io.BytesIO(self.place(path).read_bytes())
        if mode != "wb":
            raise NotImplementedError(f"a bucket cannot open a file with {mode!r}")
        return _Object(self.place(path))

    def mkdir(self, path, create_parents=True, **options):
        """Do nothing: folders exist while they have objects."""

    def makedirs(self, path, exist_ok=False):
        """Do nothing."""

    def cp_file(self, source, target, **options):
        with self._open(target, "wb") as file:
            file.write(self.place(source).read_bytes())

    def rm_file(self, path):
        if not self.place(path).is_file():
            raise FileNotFoundError(path)
        self.place(path).unlink()

    def _rm(self, path):
        self.rm_file(path)

    def rm(self, path, recursive=False, maxdepth=None):
        for each in [path] if isinstance(path, str) else path:
            place = self.place(each)
            if recursive and place.is_dir():
                shutil.rmtree(place)
            elif place.is_file():
                place.unlink()
            elif not isinstance(path, list):
                raise FileNotFoundError(each)


def install():
    """Put the folder that SSLJAX_FAKE_BUCKET names behind ``gs://``, if it is set."""
    if not os.environ.get(FOLDER):
        return
    for scheme in FakeBucket.protocol:
        fsspec.register_implementation(scheme, FakeBucket, clobber=True)
    from orbax.checkpoint._src.path import gcs_utils

    def on_disk(path):
        bucket, inside = gcs_utils.parse_gcs_path(path, add_trailing_slash=False)
        return {"driver": "file", "path": str(Path(os.environ[FOLDER], bucket, inside))}

    gcs_utils.get_kvstore_for_gcs = on_disk
    gcs_utils.is_hierarchical_namespace_enabled = lambda path: False
