"""The groups of faults that the server survives; a test says its group with `@pytest.mark.fault`.

docs/reliability.md lists each group with its tests; the first sentence of a test's docstring is
what the server promises.
"""

GROUPS = {
    "odd-bytes": "Odd numbers of bytes, samples split between messages",
    "rates": "Wrong, changing and impossible sample rates and formats",
    "containers": "Audio files sent as raw samples",
    "messages": "Empty, huge, malformed and too many messages",
    "pace": "Speech faster or slower than real time",
    "turns": "Commits, clears and interruptions in any order",
    "pictures": "Speakers, face boxes and pictures of every kind",
    "sockets": "Sockets that drop, hang, crawl or do not read",
    "abandoned": "Clients that vanish without a word",
    "viewers": "Key frame requests and late viewers",
    "offers": "Offers, candidates, ICE restarts and changes of network",
    "relays": "STUN and TURN servers that are wrong or silent",
    "weak-networks": "Loss, jitter, reordering and little bandwidth",
    "clocks": "Clock steps, suspended machines, wraps of counters",
    "slow-model": "A model slower than real time",
    "broken-model": "A model that fails, hangs or computes nonsense",
    "engine-files": "Engine files that are missing, broken or of another machine",
    "model-files": "Model folders that are missing, broken or incomplete",
    "crowds": "More clients than places, and fairness between them",
    "idling": "Speech after hours of silence, long sessions",
    "shutdown": "Signals, the end of the server, two servers at once",
    "intruders": "Strangers, secrets, paths, origins, logs and full disks",
    "outputs": "Addresses that the server sends to",
    "livekit": "LiveKit rooms and agents",
    "pipecat": "Pipecat pipelines",
    "texts": "Texts to speak and prompts of every kind",
    "odd-sound": "Silence, noise, clipping and numbers that are none",
    "two-writers": "Several sockets for one session",
}
