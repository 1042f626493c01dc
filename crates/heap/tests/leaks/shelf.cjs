// A module that is asked for again and again, and keeps what it is given.
exports.kept = [];
