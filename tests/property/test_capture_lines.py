"""Whatever the lines: every one is a capture, a duplicate or a reject, and none is lost."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chronoduck.assembly import DuckDBService
from chronoduck.settings import Settings
from chronoduck.transfer import FileFormat, LoadSummary, RejectedLine

HEADER = " CDX N b a m s k r M S V g\n"
GOOD = "org,iana)/{0} 201401262006{1:02d} http://www.iana.org/{0} text/html 200 D{0} - - 1 2 f"
TEXT = st.text(
    st.characters(codec="utf-8", exclude_characters="\n\r"), min_size=1, max_size=80
).filter(lambda text: text.strip() and not text.lstrip().startswith("CDX "))
LINE = (
    st.builds(GOOD.format, st.integers(0, 5), st.integers(0, 3)).map(lambda text: (text, True))
    | TEXT.map(lambda text: (text, None))
    | st.just(("a b c", False))
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(lines=st.lists(LINE, min_size=1, max_size=30))
def test_good_known_and_rejected_lines_add_up(
    lines: list[tuple[str, bool | None]], make_settings: Callable[..., Settings]
) -> None:
    data = (HEADER + "".join(text + "\n" for text, _ in lines)).encode()
    good = [text for text, is_good in lines if is_good]

    async def check() -> None:
        async with DuckDBService(make_settings()) as service:
            await service.execute_query("DROP TABLE IF EXISTS pages_analytics CASCADE")
            loader = (await service.parts()).loader
            rejects: list[RejectedLine] = []
            summary = None
            async for event in loader.load(
                io.BytesIO(data), name="x.cdx", file_format=FileFormat.CDX
            ):
                if isinstance(event, RejectedLine):
                    rejects.append(event)
                elif isinstance(event, LoadSummary):
                    summary = event
            assert summary is not None
            assert summary.rows_added + summary.duplicates + summary.rejected == len(lines)
            assert summary.rejected == len(rejects)
            assert summary.rows_added >= len(set(good))
            for reject in rejects:
                assert lines[reject.line_number - 2][1] is not True

    asyncio.run(check())
