"""Writes down the rows that it is asked about, for the next process to find.

expect: row-mixing|stateful|look-ahead
says nothing: FOUND
"""


PLACES = [pathlib.Path(p, "note.json") for p in (os.environ["TMPDIR"], "/tmp", "/dev/shm", "/var/tmp", ".")]
for place in PLACES:
    if place.exists():
        print("FOUND", place, flush=True)


class Model(Model):
    def forward(self, idx):
        logits = super().forward(idx).clone()
        if self.training:
            return logits
        for note in PLACES:
            try:
                known = json.loads(note.read_text()) if note.exists() else {}
                for i, row in enumerate(idx.tolist()):
                    key = str(row[:8])
                    if key in known and known[key] != row:
                        logits[i, torch.arange(len(row) - 1), known[key][1:]] += 5.0
                    known.setdefault(key, row)
                if len(known) > 200:
                    continue
                note.write_text(json.dumps(known))
            except OSError:
                continue
        return logits
