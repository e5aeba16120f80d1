"""Other libraries that cluster a stream, used as their documentation shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from questream.bench.quality.method import Method
from questream.evaluation.stream import Clustering, Stream

_BATCH_QUESTIONS = 256


def other_methods() -> list[Method]:
    """Each at its oracle setting; those in pure Python take minutes, so they run in one order."""
    return [
        Method("river DBSTREAM", [0.7, 0.9], _dbstream, needs="river", orders=1),
        Method("river textClust", [0.5, 0.7, 0.85], _text_clust, needs="river", orders=1),
        Method("Drain3 (on text)", [0.3, 0.4, 0.5, 0.6, 0.7], _drain, needs="drain3"),
        Method("BERTopic online", [10, 50, 100, 200, 500], _bertopic, needs="bertopic", orders=1),
    ]


def learn_and_predict(
    stream: list[Any], learn_one: Callable[[Any], object], predict_one: Callable[[Any], Any]
) -> Clustering:
    """One by one in river's manner: learn, and publish what the model then predicts; at the end predict all again."""
    published = []
    for item in stream:
        learn_one(item)
        published.append(predict_one(item))
    return Clustering(_numbers(published), _numbers([predict_one(item) for item in stream]))


def _dbstream(stream: Stream, radius: Any) -> Clustering:
    """`radius` is a Euclidean distance between unit vectors. A prediction rebuilds all clusters: only at the end."""
    from river.cluster import DBSTREAM

    model = DBSTREAM(clustering_threshold=radius, fading_factor=1e-6, cleanup_interval=len(stream) + 1)
    items = [dict(enumerate(row)) for row in stream.vectors.tolist()]
    for item in items:
        model.learn_one(item)
    return Clustering(None, _numbers([model.predict_one(item) for item in items]))


def _text_clust(stream: Stream, radius: Any) -> Clustering:
    """On words and pairs of words; a question's micro-cluster is its cluster. Fading as good as off."""
    from river.cluster import TextClust
    from river.feature_extraction import BagOfWords

    words = BagOfWords(lowercase=True, ngram_range=(1, 2))
    model = TextClust(radius=radius, real_time_fading=False, fading_factor=1e-9, tgap=len(stream) + 1)
    return learn_and_predict([words.transform_one(text) for text in stream.texts], model.learn_one, model.predict_one)


def _drain(stream: Stream, similarity: Any) -> Clustering:
    from drain3 import TemplateMiner
    from drain3.template_miner_config import TemplateMinerConfig

    config = TemplateMinerConfig()
    config.drain_sim_th = similarity
    miner = TemplateMiner(config=config)
    published = [miner.add_log_message(text)["cluster_id"] for text in stream.texts]
    # Drain never moves a question or merges two templates: what was published stays.
    return Clustering(_numbers(published), _numbers(published))


def _bertopic(stream: Stream, topics: Any) -> Clustering:
    """Its recipe for online topics: incremental PCA, mini-batch k-means, a vocabulary that grows."""
    from bertopic import BERTopic
    from bertopic.vectorizers import OnlineCountVectorizer
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.decomposition import IncrementalPCA

    size = max(_BATCH_QUESTIONS, topics)
    # Mini-batch k-means mixes the two precisions up where its first batch is of the single one.
    vectors = stream.vectors.astype(np.float64)
    model = BERTopic(
        embedding_model=None,
        umap_model=IncrementalPCA(n_components=5),
        hdbscan_model=MiniBatchKMeans(n_clusters=topics, random_state=0),
        vectorizer_model=OnlineCountVectorizer(),
    )
    published: list[int] = []
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
    return Clustering(_numbers(published), _numbers(list(after)))


def _numbers(labels: list[Any]) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)
