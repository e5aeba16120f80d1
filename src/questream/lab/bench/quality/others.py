"""Other libraries that cluster a stream, used as their documentation shows."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from questream.lab.bench.quality.method import Method
from questream.lab.evaluation.agreement import numbered
from questream.lab.evaluation.stream import Clustering, Stream
from questream.settings import GRANULARITY_THRESHOLDS, Granularity

_BATCH_QUESTIONS = 256
_WORD = re.compile(r"\w+")


def other_methods(granularity: Granularity) -> list[Method]:
    """Each at its oracle setting; those in pure Python take minutes for each, so the likeliest come first."""
    threshold = GRANULARITY_THRESHOLDS[granularity]
    radii = [(kind, radius) for radius in (0.9, 0.8, 1.0, 0.7, 0.5, 1.1) for kind in ("centred", "cosine")]
    words = [(longest, radius) for radius in (0.7, 0.5, 0.6, 0.3, 0.8, 0.85) for longest in (1, 2)]
    trees = [(round(float(t), 1), depth) for depth in (4, 3, 6) for t in np.arange(0.2, 0.85, 0.1)]
    topics = [(number, components) for number in (50, 100, 200, 500, 10) for components in (5, 50)]
    return [
        Method("questream, one by one (river's protocol)", [threshold], _ours_in_river, needs="river"),
        Method("river DBSTREAM", radii, _dbstream, needs="river"),
        Method("river textClust (on text)", words, _text_clust, needs="river"),
        Method("Drain3 (on text)", trees, _drain, needs="drain3"),
        Method("BERTopic online", topics, _bertopic, needs="bertopic"),
    ]


def _ours_in_river(stream: Stream, threshold: float) -> Clustering:
    from questream.lab.bench.quality.in_river import RiverQuestionClusterer, learn_and_predict, mappings

    return learn_and_predict(mappings(stream.vectors), RiverQuestionClusterer(threshold))


def _dbstream(stream: Stream, setting: tuple[str, float]) -> Clustering:
    """Its numbers hold only until it is asked again, so that there is none to publish."""
    from questream.lab.bench.quality.centring import centred
    from questream.lab.bench.quality.in_river import dbstream, learn_then_predict, mappings

    kind, radius = setting
    vectors = centred(stream.vectors) if kind == "centred" else stream.vectors
    return learn_then_predict(mappings(vectors), dbstream(radius, len(stream)))


def _text_clust(stream: Stream, setting: tuple[int, float]) -> Clustering:
    from questream.lab.bench.quality.in_river import learn_and_predict, text_clust, words_of

    longest, radius = setting
    return learn_and_predict(words_of(stream.texts, longest), text_clust(radius, len(stream)))


def _drain(stream: Stream, setting: tuple[float, int]) -> Clustering:
    """Lower case and no punctuation, which Drain has no part for: it splits at spaces."""
    from drain3 import TemplateMiner
    from drain3.template_miner_config import TemplateMinerConfig

    config = TemplateMinerConfig()
    config.drain_sim_th, config.drain_depth = setting
    miner = TemplateMiner(config=config)
    lines = [" ".join(_WORD.findall(text.lower())) for text in stream.texts]
    published = numbered([miner.add_log_message(line)["cluster_id"] for line in lines])
    # Drain never moves a question or merges two templates: what was published stays.
    return Clustering(published, published)


def _bertopic(stream: Stream, setting: tuple[int, int]) -> Clustering:
    """Its recipe for online topics: incremental PCA, mini-batch k-means, a vocabulary that grows."""
    from bertopic import BERTopic
    from bertopic.vectorizers import OnlineCountVectorizer
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.decomposition import IncrementalPCA

    topics, components = setting
    size = max(_BATCH_QUESTIONS, topics)
    # Mini-batch k-means mixes the two precisions up where its first batch is of the single one.
    vectors = stream.vectors.astype(np.float64)
    model = BERTopic(
        embedding_model=None,
        umap_model=IncrementalPCA(n_components=components),
        hdbscan_model=MiniBatchKMeans(n_clusters=topics, random_state=0),
        vectorizer_model=OnlineCountVectorizer(stop_words="english"),
    )
    published: list[Any] = []
    batches = [batch for batch in stream.batches(size) if batch.stop - batch.start >= min(size, len(stream))]
    for batch in batches:
        texts = list(stream.texts[batch])
        model.partial_fit(texts, embeddings=vectors[batch])
        published += list(model.topics_)
    # The last questions do not fill a batch, which mini-batch k-means would not learn from.
    left = slice(len(published), len(stream))
    if left.start < left.stop:
        published += list(model.transform(list(stream.texts[left]), vectors[left])[0])
    after = model.transform(list(stream.texts), vectors)[0]
    return Clustering(numbered(published), numbered(list(after)))
