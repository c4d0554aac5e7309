"""One line of the devfile for the build cache: what buildx is told for each image."""

import pytest

from devloop.core.delivery.cache import cache_options
from devloop.errors import InputError


@pytest.mark.parametrize(
    ("text", "imported", "exported"),
    [
        (
            "type=registry,ref=r.example.com/cache/{image}",
            "type=registry,ref=r.example.com/cache/api",
            "type=registry,ref=r.example.com/cache/api,mode=max,ignore-error=true",
        ),
        (
            "type=registry,ref=r.example.com/c:{image},mode=min,image-manifest=true",
            "type=registry,ref=r.example.com/c:api",
            "type=registry,ref=r.example.com/c:api,mode=min,image-manifest=true,ignore-error=true",
        ),
        (
            "type=local,path=.cache",
            "type=local,src=.cache/api",
            "type=local,dest=.cache/api,mode=max,ignore-error=true",
        ),
        (
            "type=s3,region=eu-1,bucket=builds,name=shop",
            "type=s3,region=eu-1,bucket=builds,name=shop-api",
            "type=s3,region=eu-1,bucket=builds,name=shop-api,mode=max,ignore-error=true",
        ),
        ("type=gha", "type=gha,scope=api", "type=gha,scope=api,mode=max,ignore-error=true"),
    ],
)
def test_one_text_says_both_where_a_cache_is_taken_from_and_where_it_is_left(
    text: str, imported: str, exported: str
) -> None:
    options = cache_options(text, "api")
    assert (options.imported, options.exported) == (imported, exported)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("registry.example.com/cache", "is no `name=value`"),
        ("type=memory", "names no type of build cache"),
        ("type=s3,region=eu-1", "has no `bucket=`"),
        ("type=registry,ref=", "is no `name=value`"),
    ],
)
def test_what_is_no_cache_is_an_error(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        cache_options(text, "api")


def test_a_cache_that_all_images_would_share_is_an_error_that_says_the_right_text() -> None:
    with pytest.raises(InputError, match="all images would share") as caught:
        cache_options("type=registry,ref=r", "api")
    assert "`type=registry,ref=r:{image}`" in (caught.value.hint or "")
