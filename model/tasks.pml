/* Tasks, observer and standings of docs/protocol.md (rules B, D and P): three nodes, two tasks.
 *
 *     make model
 *
 * README.md says what is assumed and which rule each assertion guards. How long a node may trust its
 * session is protocol.pml's matter: here a session is over for its node at any moment, its programs
 * are dead then, and only after that may another node end it (T1, L3). What is searched is what rests
 * on the group's record: whatever a node has read may be old when it acts on it.
 */

#ifdef BREAK_R5
#define R5(fact) true
#else
#define R5(fact) (fact)  /* a token is taken only when it is free */
#endif
#ifdef BREAK_L3
#define L3(fact) true
#else
#define L3(fact) (fact)  /* a session is ended when its programs are dead */
#endif
#ifdef BREAK_D2
#define D2(fact) true
#else
#define D2(fact) (fact)  /* taken only at the version that was decided on */
#endif
#ifdef BREAK_D3
#define D3(fact) true
#else
#define D3(fact) (fact)  /* given back only when nothing of the program is left */
#endif
#ifdef BREAK_D5
#define D5(fact) true
#else
#define D5(fact) (fact)  /* started only under a held token */
#endif
#ifdef BREAK_P1
#define P1(members) live
#else
#define P1(members) (members)  /* only a live Member is named, and only one takes */
#endif
#ifdef BREAK_P2
#define P2(base, now) (now)
#else
#define P2(base, now) (base)  /* who held it when the version was made */
#endif
#ifdef BREAK_P3
#define P3(fact) false
#else
#define P3(fact) (fact)  /* who holds a task keeps it while it may run it */
#endif
#ifdef BREAK_P4
#define P4(share, all) (all)
#else
#define P4(share, all) (share)  /* a new Member is given its fair share, and no more */
#endif
#ifdef BREAK_B6
#define B6(fact) true
#else
#define B6(fact) (fact)  /* while the observer is suspended nobody decides, nor follows it */
#endif
#ifdef BREAK_B9
#define B9(fact) true
#else
#define B9(fact) (fact)  /* a decision needs the version that it was made on */
#endif
#ifdef BREAK_B10
#define B10(nodes) 0
#else
#define B10(nodes) (nodes)  /* nothing from before the last decision counts for the next one */
#endif

#define NODES 3
#define TASKS 2
#define NOBODY 3
#define BIT(n) (1 << (n))
#define HAS(set, n) (((set) >> (n)) & 1)
#define AT(t, n) ((t) * NODES + (n))

#ifndef VERSIONS
#define VERSIONS 6              /* changes of the record, and the first one */
#endif
#ifndef LATE
#define LATE 2                  /* late beats of all nodes together; one brings a Member to Rehab */
#endif

/* --- the database ------------------------------------------------------------------------------ */

byte version = 1;
byte spread = 0;                /* at which a node became a Member last; 0: all is spread */
bool suspended = false;
byte live = 7;                  /* whose session has not been ended */
byte members = 3;
byte observer = 0;              /* who holds the observer's token */
byte holder[TASKS] = NOBODY;    /* of a task's token; NOBODY: it is free */
byte base[TASKS] = NOBODY;      /* who held it when the version `based` was made */
byte based[TASKS];

/* --- the nodes --------------------------------------------------------------------------------- */

byte over = 0;                  /* whose session is over for themselves: nothing runs there */
byte read_at[NODES];            /* the version that a node has read, and what it found in it */
byte plan[6] = NOBODY;          /* by task and node */
byte seen_members[NODES];
byte programs[TASKS];           /* on which nodes the task's program runs */
byte late[NODES];               /* of whom the node that may observe has counted a late beat */
byte changed[NODES];            /* whose standing was changed since it looked */

/* --- what is only there to be asserted ----------------------------------------------------------- */

byte answer[TASKS];             /* what the first reader of this version found */
byte answered = 0;
byte from[TASKS] = NOBODY;      /* which live Member gave it back for another node */
byte moves[TASKS];              /* since a node became a Member last */
byte late_left = LATE;
byte late_beats[NODES];
byte rehabs[NODES];

#define MAY_RUN (P1(members) & live)
#define LIVES(n) (HAS(live, n) && !HAS(over, n))

byte n; byte t; byte m; byte first; byte second; byte count[NODES];

/* Nothing of one step is left behind in what the next one uses for itself. */
inline tidy() {
    n = 0; t = 0; m = 0; first = 0; second = 0;
    count[0] = 0; count[1] = 0; count[2] = 0;
}

inline raise_version() {
    version++;
    answered = 0;
}

inline keep_base(task) {
    if
    :: based[task] != version -> base[task] = holder[task]; based[task] = version;
    :: else
    fi
}

/* The node that may run a task and has the fewest; the lowest of those that are alike. */
inline fewest(found) {
    found = NOBODY;
    m = 0;
    do
    :: m < NODES ->
        if
        :: HAS(MAY_RUN, m) && (found == NOBODY || count[m] < count[found % NODES]) -> found = m
        :: else
        fi;
        m++
    :: else -> break
    od
}

#define BASE(task) P2((based[task] == version -> base[task] : holder[task]), holder[task])
#define STAYS(task) P3(BASE(task) != NOBODY && HAS(MAY_RUN, BASE(task) % NODES))

/* What a node finds in the record: who should run each task. */
inline place() {
    first = NOBODY; second = NOBODY;
    if :: STAYS(0) -> first = BASE(0); count[first]++ :: else fi;
    if :: STAYS(1) -> second = BASE(1); count[second]++ :: else fi;
    if :: first == NOBODY -> fewest(first); if :: first != NOBODY -> count[first]++ :: else fi :: else fi;
    if :: second == NOBODY -> fewest(second); if :: second != NOBODY -> count[second]++ :: else fi :: else fi;
    /* Two tasks on one node, and a Member without any: the second moves. */
    if
    :: spread && first != NOBODY && first == second ->
        fewest(second);
        if :: count[second] > 0 -> second = first :: else -> first = P4(first, second) fi
    :: else
    fi
}

#define ALONE(node) ((MAY_RUN & ~BIT(node)) == 0)

inline look(node) {
    place();
    assert(!spread || first == NOBODY || first != second || ALONE(first % NODES));  /* a fair share */
    if
    :: answered == 0 -> answer[0] = first; answer[1] = second; answered = 1
    :: else -> assert(answer[0] == first && answer[1] == second)  /* one answer */
    fi;
    plan[AT(0, node)] = first;
    plan[AT(1, node)] = second;
    read_at[node] = version;
    seen_members[node] = members & live;
    late[node] = late[node] & ~B10(changed[node]);
    changed[node] = 0;
}

inline take(task, node) {
    assert(HAS(live, node) && HAS(members, node));  /* a live Member */
    keep_base(task);
    if
    :: from[task] != NOBODY && from[task] != node -> moves[task]++; assert(moves[task] <= 1)  /* moved once */
    :: else
    fi;
    from[task] = NOBODY;
    holder[task] = node;
}

inline give_back(task, node) {
    keep_base(task);
    if
    :: HAS(members, node) && plan[AT(task, node)] != node ->
        assert(spread || read_at[node] != version);  /* moved without a new Member */
        from[task] = node
    :: else -> from[task] = NOBODY
    fi;
    holder[task] = NOBODY;
}

inline free_all(node) {
    t = 0;
    do
    :: t < TASKS ->
        if :: holder[t] == node -> holder[t] = NOBODY; from[t] = NOBODY :: else fi;
        t++
    :: else -> break
    od
}

inline note_change(node) {
    changed[0] = changed[0] | BIT(node);
    changed[1] = changed[1] | BIT(node);
    changed[2] = changed[2] | BIT(node);
}

inline end_session(node) {
    live = live & ~BIT(node);
    members = members & ~BIT(node);
    free_all(node);
    raise_version();
}

/* By the observer, on what it has read; each is carried out with the observer's token only. */
#define DECIDES(node) (observer == (node) && LIVES(node) && B6(!suspended) && \
    B9(read_at[node] == version) && read_at[node] > 0 && version < VERSIONS)

inline decide(node) {
    assert(!suspended);  /* nobody decides */
    if :: m = 0 :: m = 1 :: m = 2 fi;
    if
    :: m != node && HAS(live, m) && L3(HAS(over, m)) -> end_session(m)
    :: HAS(live & members, m) && HAS(late[node], m) && (seen_members[node] & ~late[node]) ->
        assert((members & live) & ~BIT(m));  /* a Member remains */
        members = members & ~BIT(m);
        rehabs[m]++;
        assert(rehabs[m] <= late_beats[m]);  /* one decision for a late beat */
        note_change(m);
        raise_version()
    :: HAS(live & ~members, m) ->
        members = members | BIT(m);
        note_change(m);
        moves[0] = 0; moves[1] = 0;
        raise_version();
        spread = version
    :: else
    fi
}

active proctype group() {
    do
    :: atomic {
        if :: n = 0 :: n = 1 :: n = 2 fi;
        if :: t = 0 :: t = 1 fi;
        if
        /* a node reads the record; what it does later rests on that */
        :: LIVES(n) -> look(n)

        /* tokens and programs */
        :: LIVES(n) && plan[AT(t, n)] == n && R5(holder[t] == NOBODY) && holder[t] != n &&
            D2(read_at[n] == version) && HAS(MAY_RUN, n) -> take(t, n)
        :: LIVES(n) && plan[AT(t, n)] == n && D5(holder[t] == n) && read_at[n] == version &&
            !HAS(programs[t], n) ->
            assert((programs[t] & ~BIT(n)) == 0);  /* one program */
            programs[t] = programs[t] | BIT(n)
        :: LIVES(n) && HAS(programs[t], n) -> programs[t] = programs[t] & ~BIT(n)  /* stopped, or done */
        :: LIVES(n) && holder[t] == n && D3(!HAS(programs[t], n)) -> give_back(t, n)

        /* sessions */
        :: LIVES(n) ->
            over = over | BIT(n);
            programs[0] = programs[0] & ~BIT(n); programs[1] = programs[1] & ~BIT(n)
        :: HAS(over, n) && !HAS(live, n) && version < VERSIONS ->
            over = over & ~BIT(n); live = live | BIT(n);
            programs[0] = programs[0] & ~BIT(n); programs[1] = programs[1] & ~BIT(n);
            plan[AT(0, n)] = NOBODY; plan[AT(1, n)] = NOBODY;
            read_at[n] = 0; seen_members[n] = 0; late[n] = 0; changed[n] = 0;
            raise_version()
        :: LIVES(n) && HAS(live, observer) && observer != n && L3(HAS(over, observer)) &&
            B6(!suspended) && version < VERSIONS ->
            assert(!suspended);  /* nobody decides */
            m = observer; observer = n;
            end_session(m)

        /* the observer's decisions */
        :: DECIDES(n) -> decide(n)
        :: observer == n && LIVES(n) && spread && version < VERSIONS && read_at[n] == version &&
            holder[0] == plan[AT(0, n)] && holder[1] == plan[AT(1, n)] -> spread = 0; raise_version()

        /* late beats, and an operator */
        :: LIVES(n) && late_left > 0 ->
            late_left--; late_beats[n]++;
            late[0] = late[0] | BIT(n); late[1] = late[1] | BIT(n); late[2] = late[2] | BIT(n)
        :: n == 0 && t == 0 && version < VERSIONS -> suspended = !suspended; raise_version()
        :: n == 1 && t == 0 && version < VERSIONS -> raise_version()  /* a definition is changed */
        :: else
        fi;
        tidy()
    }
    od
}
