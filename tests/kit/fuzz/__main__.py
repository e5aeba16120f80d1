"""`python -m tests.kit.fuzz decoder|settings|worker`: hostile input until a promise breaks, or all of it is through."""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from tests.kit.fuzz.decoder import Found, fuzz_decoder, report
from tests.kit.fuzz.settings import fuzz_settings
from tests.kit.fuzz.worker import TOPIC_CONFIGS, fuzz_worker
from tests.kit.servers import KafkaServer, RedisServer, create_topics
from tests.kit.stream import Stream

RECORDS = {"decoder": 1_000_000, "settings": 5_000, "worker": 100_000}


def main() -> int:
    """Exit code 1 where a promise broke; the seed and the way to see it again are printed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=RECORDS)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**31))
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--records", type=int, default=None)
    given = parser.parse_args()
    records = RECORDS[given.what] if given.records is None else given.records
    print(f"{given.what}: {records:,} from seed {given.seed}", flush=True)
    started = time.monotonic()
    try:
        if given.what == "decoder":
            print(report(fuzz_decoder(given.seed, given.first, records), started))
        elif given.what == "settings":
            print(report(fuzz_settings(given.seed, given.first, records), started))
        else:
            with tempfile.TemporaryDirectory() as folder:
                print(report(_fuzz_worker(Path(folder), given.seed, given.first, records), started))
    except Found as found:
        traceback.print_exception(found.__cause__)
        print(f"seed {given.seed}: {found}", file=sys.stderr)
        return 1
    return 0


def _fuzz_worker(folder: Path, seed: int, first: int, records: int) -> Counter[str]:
    with (
        KafkaServer(folder / "kafka") as kafka,
        RedisServer(folder / "redis", appendfsync="always") as redis,
    ):
        topics = create_topics(kafka.bootstrap_servers, 3, TOPIC_CONFIGS)
        stream = Stream(kafka.bootstrap_servers, topics, redis.url)
        # A hundred a second: what the slowest machine does.
        return fuzz_worker(stream, folder, seed, first, records, seconds=120 + records / 100)


if __name__ == "__main__":
    sys.exit(main())
