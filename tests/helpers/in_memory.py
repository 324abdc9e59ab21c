"""Arrays of a source that must be in memory."""


def images_of(source):
    assert source.images is not None
    return source.images


def labels_of(source):
    assert source.labels is not None
    return source.labels
